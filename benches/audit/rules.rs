//! The rules: ten about a row, a compound key, a reference, a number of rows; and any number of copies of them, each with
//! constants of its own.

/// How many there are.
pub const RULES: usize = 13;

/// The name of a rule's copy.
pub fn id(rule: &str, copy: usize) -> String {
    format!("{rule}-{copy}")
}

/// The rules file with so many copies.
pub fn yaml(copies: usize) -> String {
    let mut text = "rules:\n".to_owned();
    for copy in 0..copies {
        for (rule, condition, check) in rules(copy) {
            let filter = condition.map(|condition| format!("    where: \"{condition}\"\n")).unwrap_or_default();
            text.push_str(&format!(
                "  - id: {}\n    table: public.lineitem\n{filter}    check: {{ {check} }}\n",
                id(rule, copy)
            ));
        }
    }
    text
}

/// Id, `where` and check. No constant of a copy lets through what another finds.
fn rules(copy: usize) -> [(&'static str, Option<String>, String); RULES] {
    let never = 100 + copy;
    let condition = (copy > 0).then(|| format!("l_linenumber <> {never}"));
    [
        ("shipped", condition, "not_null: [l_shipdate]".to_owned()),
        ("quantity", None, format!("range: {{ column: l_quantity, min: 1, max: {} }}", 50 + copy)),
        ("discount", None, format!("range: {{ column: l_discount, min: 0, max: 0.1{copy} }}")),
        ("tax", None, format!("range: {{ column: l_tax, min: -{copy}, max: 0.08 }}")),
        ("returned", None, format!("values: {{ column: l_returnflag, in: [A, N, R, \"{copy}\"] }}")),
        (
            "mode",
            None,
            format!("values: {{ column: l_shipmode, in: [AIR, FOB, MAIL, RAIL, REG AIR, SHIP, TRUCK, \"{copy}\"] }}"),
        ),
        ("instruction", None, format!("matches: {{ column: l_shipinstruct, regex: \"^[A-Z {}]+$\" }}", copy % 10)),
        ("received", None, format!("expression: \"l_receiptdate > l_shipdate OR l_linenumber = {never}\"")),
        ("price", None, format!("expression: \"l_extendedprice >= -{copy}\"")),
        (
            "state",
            None,
            format!("expression: \"(l_linestatus = 'O') = (l_shipdate > '1995-06-17') OR l_linenumber = {never}\""),
        ),
        ("line", None, "unique: [l_orderkey, l_linenumber]".to_owned()),
        ("order", None, "references: { columns: [l_orderkey], table: public.orders, key: [o_orderkey] }".to_owned()),
        ("rows", None, format!("volume: {{ min: {} }}", 1 + copy)),
    ]
}
