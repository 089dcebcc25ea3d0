//! The schemas of a database, made anew on a scratch server.

use std::collections::{BTreeMap, BTreeSet};

use super::server::{OWN_SETTINGS, SHADOW};
use crate::catalog::DatabaseObject;
use crate::engine::postgres::{Session, described, quoted_identifier};
use crate::model::TableName;
use crate::sql::with_given_time;

/// Extensions that PostgreSQL does not call trusted and that touch nothing outside of their database all the same.
const HARMLESS_EXTENSIONS: [&str; 13] = [
    "address_standardizer",
    "bloom",
    "dict_xsyn",
    "earthdistance",
    "h3",
    "hll",
    "intagg",
    "pg_uuidv7",
    "postgis",
    "postgis_raster",
    "postgis_topology",
    "vector",
    "xml2",
];

/// What came of it.
pub struct Made {
    /// What could not be made, by its bare name, and why.
    pub missing: BTreeMap<String, String>,
    /// Tables and views that are not what they are in the database, and why.
    pub incomplete: BTreeMap<TableName, String>,
}

/// Makes the schemas and all that is in them, those of their names that stand there put aside. In the session's
/// transaction: nobody else ever sees it.
///
/// # Errors
/// What the server refuses before it comes to single objects.
pub async fn make(session: &Session, objects: &[DatabaseObject], standing: &[DatabaseObject]) -> Result<Made, String> {
    let client = session.client();
    let run = async |sql: &str| client.batch_execute(sql).await.map_err(|error| described(&error));
    let role = role(session).await?;
    let kept = put_aside(session, objects, standing).await?;
    let authorization = role.as_ref().map(|role| format!(" AUTHORIZATION {role}")).unwrap_or_default();
    for object in objects.iter().filter(|object| object.kind == "schema") {
        let schema = quoted_identifier(&object.schema);
        match (kept.contains(&object.schema), &role) {
            (false, _) => run(&format!("CREATE SCHEMA {schema}{authorization}")).await?,
            (true, Some(role)) => run(&format!("GRANT ALL ON SCHEMA {schema} TO {role}")).await?,
            (true, None) => {}
        }
    }
    run(&format!("CREATE SCHEMA {SHADOW}{authorization}")).await?;
    let mut failed = BTreeMap::new();
    for (place, object) in objects.iter().enumerate().filter(|(_, object)| object.kind == "extension") {
        if let Err(reason) = extend(session, object).await {
            failed.insert(place, reason);
        }
    }
    if let Some(role) = &role {
        run(&format!("SET LOCAL ROLE {role}")).await?;
    }
    run(&format!("{}; SET LOCAL check_function_bodies = off; {OWN_SETTINGS}", include_str!("shadow.sql"))).await?;
    let made = make_objects(session, objects, failed).await?;
    run("DELETE FROM blast_radius_scratch.calls").await?;
    Ok(made)
}

/// A superuser gives itself up for a role that may touch nothing but what is ours.
async fn role(session: &Session) -> Result<Option<String>, String> {
    let client = session.client();
    let sql = "SELECT rolsuper, pg_backend_pid() FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(sql, &[]).await.map_err(|error| described(&error))?;
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    let role = format!("blast_radius_scratch_{}", row.get::<_, i32>(1));
    client.batch_execute(&format!("CREATE ROLE {role}")).await.map_err(|error| described(&error))?;
    Ok(Some(role))
}

/// The schemas that stand there under the names of ours go by other names, for as long as the transaction lasts; but for
/// those that hold nothing, save extensions: their names.
async fn put_aside(
    session: &Session,
    objects: &[DatabaseObject],
    standing: &[DatabaseObject],
) -> Result<BTreeSet<String>, String> {
    let is_ours = |schema: &DatabaseObject| {
        objects.iter().any(|object| object.kind == "schema" && object.schema == schema.schema)
    };
    let holds_something = |schema: &DatabaseObject| {
        let is_thing = |object: &DatabaseObject| !matches!(object.kind.as_str(), "schema" | "extension");
        standing.iter().any(|object| object.schema == schema.schema && is_thing(object))
    };
    let mut kept = BTreeSet::new();
    let schemas = standing.iter().filter(|object| object.kind == "schema" && is_ours(object));
    for (place, schema) in schemas.enumerate() {
        if !holds_something(schema) {
            kept.insert(schema.schema.clone());
            continue;
        }
        let name = quoted_identifier(&schema.schema);
        let sql = format!("ALTER SCHEMA {name} RENAME TO blast_radius_aside_{place}");
        session.client().batch_execute(&sql).await.map_err(|error| described(&error))?;
    }
    Ok(kept)
}

/// An extension, where it reaches nothing outside of its database.
async fn extend(session: &Session, object: &DatabaseObject) -> Result<(), String> {
    let name = &object.name;
    let sql = "SELECT coalesce(bool_or(trusted), false) FROM pg_available_extension_versions WHERE name = $1";
    let trusted = session.client().query_one(sql, &[name]).await.map_err(|error| described(&error))?;
    if !trusted.get::<_, bool>(0) && !HARMLESS_EXTENSIONS.contains(&name.as_str()) {
        return Err(format!("the extension {name} is not installed there, or may reach outside of its database"));
    }
    let (extension, schema) = (quoted_identifier(name), quoted_identifier(&object.schema));
    let sql =
        "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = $1";
    let standing = session.client().query_opt(sql, &[name]).await.map_err(|error| described(&error))?;
    let make = match standing.map(|row| row.get::<_, String>(0)) {
        Some(stands_in) if stands_in == object.schema => return Ok(()),
        Some(_) => format!("ALTER EXTENSION {extension} SET SCHEMA {schema}"),
        None => format!("CREATE EXTENSION {extension} SCHEMA {schema}"),
    };
    attempt(session, &make).await.map_err(|reason| format!("the extension {name} is missing there: {reason}"))
}

/// Does it, or nothing.
async fn attempt(session: &Session, sql: &str) -> Result<(), String> {
    let client = session.client();
    let done = client.batch_execute(&format!("SAVEPOINT attempt; {sql}\n; RELEASE attempt")).await;
    let Err(error) = done else { return Ok(()) };
    if error.as_db_error().is_some() {
        client.batch_execute("ROLLBACK TO attempt; RELEASE attempt").await.map_err(|error| described(&error))?;
    }
    Err(described(&error))
}

/// One after the other, those that need others once more after these. Where one of several functions of a name cannot be
/// made, none is: a call would mean another one than it does.
async fn make_objects(
    session: &Session,
    objects: &[DatabaseObject],
    unextended: BTreeMap<usize, String>,
) -> Result<Made, String> {
    let run = async |sql: &str| session.client().batch_execute(sql).await.map_err(|error| described(&error));
    let mut withheld: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        run("SAVEPOINT objects").await?;
        let mut failed = unextended.clone();
        let mut waiting: Vec<(usize, String)> = Vec::new();
        for (place, object) in objects.iter().enumerate() {
            match sql_of(object, &withheld) {
                Ok(Some(sql)) => waiting.push((place, sql)),
                Ok(None) => {}
                Err(reason) => _ = failed.insert(place, reason),
            }
        }
        loop {
            let mut refused = Vec::new();
            let count = waiting.len();
            for (place, sql) in waiting {
                if let Err(reason) = attempt(session, &sql).await {
                    refused.push((place, sql, reason));
                }
            }
            let is_stuck = refused.len() == count;
            if is_stuck {
                failed.extend(refused.into_iter().map(|(place, _, reason)| (place, reason)));
                break;
            }
            waiting = refused.into_iter().map(|(place, sql, _)| (place, sql)).collect();
        }
        let functions = failed.keys().filter_map(|place| objects.get(*place)).filter_map(function_name);
        let more: BTreeSet<(String, String)> = functions.filter(|name| !withheld.contains(name)).collect();
        let is_overloaded = |name: &(String, String)| {
            objects.iter().filter_map(function_name).filter(|other| other == name).count() > 1
        };
        if !more.iter().any(is_overloaded) {
            run("RELEASE objects").await?;
            return Ok(outcome(objects, &failed));
        }
        withheld.extend(more);
        run("ROLLBACK TO objects; RELEASE objects").await?;
    }
}

fn function_name(object: &DatabaseObject) -> Option<(String, String)> {
    (object.kind == "function").then(|| (object.schema.clone(), object.relation.clone().unwrap_or_default()))
}

/// What makes the object there; nothing, where it is there already.
fn sql_of(object: &DatabaseObject, withheld: &BTreeSet<(String, String)>) -> Result<Option<String>, String> {
    if matches!(object.kind.as_str(), "schema" | "extension") {
        return Ok(None);
    }
    let named = |reason: String| format!("{} {} was not made there: it {reason}", object.kind, object.name);
    if let Some(obstacle) = &object.obstacle {
        return Err(named(obstacle.strip_prefix("it ").unwrap_or(obstacle).to_owned()));
    }
    let name = (object.schema.clone(), object.relation.clone().unwrap_or_default());
    if matches!(object.kind.as_str(), "function" | "path") && withheld.contains(&name) {
        return Err(named("has the name of another that could not be made".to_owned()));
    }
    let sql = object.sql.as_deref().ok_or_else(|| named("cannot be told".to_owned()))?;
    with_given_time(sql, SHADOW, object.kind == "function").map(Some).map_err(named)
}

fn outcome(objects: &[DatabaseObject], failed: &BTreeMap<usize, String>) -> Made {
    let mut made = Made { missing: BTreeMap::new(), incomplete: BTreeMap::new() };
    let functions: Vec<(String, &String)> =
        failed.iter().filter_map(|(place, reason)| Some((function_name(objects.get(*place)?)?.1, reason))).collect();
    for (place, reason) in failed {
        let Some(object) = objects.get(*place) else { continue };
        // A trigger fails because its function did.
        let named = functions.iter().find(|(name, why)| reason.contains(&format!("{name}(")) && *why != reason);
        let reason = match named {
            Some((_, why)) => format!("{reason}; {why}"),
            None => reason.clone(),
        };
        if let Some(table) = &object.part_of {
            made.incomplete.entry(table.clone()).or_insert_with(|| reason.clone());
        }
        let name = object.relation.clone().unwrap_or_else(|| object.name.clone());
        made.missing.entry(name).or_insert(reason);
    }
    made
}
