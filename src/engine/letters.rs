//! `upper`, `lower` and `initcap` of statements that are run again: which letters beyond ASCII change, and to what, is a
//! matter of the database's locale, which is not known here.

use std::sync::Arc;

use arrow::array::{AsArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::SessionContext;

/// Registers them in place of the engine's.
pub(super) fn register(context: &SessionContext) {
    for case in [Case::Upper, Case::Lower, Case::Initcap] {
        context.register_udf(ScalarUDF::from(Letters { case, signature: Signature::string(1, Volatility::Immutable) }));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Case {
    Upper,
    Lower,
    Initcap,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Letters {
    case: Case,
    signature: Signature,
}

impl ScalarUDFImpl for Letters {
    fn name(&self) -> &str {
        match self.case {
            Case::Upper => "upper",
            Case::Lower => "lower",
            Case::Initcap => "initcap",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [array] = arrays.as_slice() else { return exec_err!("{} takes a text", self.name()) };
        let texts = arrow::compute::cast(array, &DataType::Utf8)?;
        let mut builder = StringBuilder::new();
        for text in texts.as_string::<i32>() {
            let changed = text.map(|text| changed(self.case, text)).transpose()?;
            builder.append_option(changed);
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

fn changed(case: Case, text: &str) -> Result<String> {
    // A letter without case, as of Han, stays what it is in every locale; it may begin no word in some.
    let depends = |letter: char| {
        let is_cased = letter.is_uppercase() || letter.is_lowercase();
        !letter.is_ascii() && (is_cased || case == Case::Initcap && letter.is_alphanumeric())
    };
    if text.chars().any(depends) {
        return exec_err!("changes the case of letters beyond ASCII, which the database's locale decides");
    }
    let mut within_word = false;
    let change = |letter: char| {
        let upper = match case {
            Case::Upper => true,
            Case::Lower => false,
            Case::Initcap => !within_word,
        };
        within_word = letter.is_ascii_alphanumeric();
        if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    Ok(text.chars().map(change).collect())
}
