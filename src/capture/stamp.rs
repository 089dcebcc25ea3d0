//! The stamp of a transaction: the content of a logical message that a trigger wrote into the write-ahead log.
//!
//! In: `{"application_name":"shop@v42", "session_id":"69a5b1c2.1a2b", "xid":"733", "query":"UPDATE …", …}`, the message's
//! content. Out: a [`Stamp`], which its transaction makes a [`RecordedStamp`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::json_fields::{self as fields, Object};
use crate::model::{
    RecordedStamp, RecordingId, ReleaseName, ServiceName, SessionId, Timestamp, TransactionId, comment_tags,
};

/// The prefix of the messages that are stamps.
pub(super) const STAMP_PREFIX: &str = "blast_radius";

/// What a message says of its transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The transaction as the stamp itself names it.
    pub(super) transaction: Option<TransactionId>,
    /// The session, as the log writes it.
    pub(super) session: Option<SessionId>,
    /// The session's process id.
    pub(super) process_id: Option<u32>,
    /// The session's `application_name`.
    pub(super) application_name: Option<Arc<str>>,
    /// The session's user.
    pub(super) user: Option<Arc<str>>,
    /// The release, where the application names it.
    pub(super) release: Option<ReleaseName>,
    /// The service, where the application names it.
    pub(super) service: Option<ServiceName>,
    /// The sqlcommenter tags of the statement, where the trigger took them apart.
    pub(super) tags: BTreeMap<String, String>,
    /// The statement under way.
    pub(super) statement: Option<Arc<str>>,
    /// When that statement began.
    pub(super) statement_time: Option<Timestamp>,
}

impl Stamp {
    /// Reads a message's content.
    ///
    /// # Errors
    /// Content that is no object, or a member of another kind than it must have.
    pub(super) fn parse(content: &str) -> Result<Self, String> {
        let object = fields::object_of_line(content).map_err(|reason| format!("the stamp is damaged: {reason}"))?;
        Stamp::of_object(&object).map_err(|reason| format!("the stamp is damaged: {reason}"))
    }

    /// The stamp as the transaction's: under an identity, at a place of its stream, at the time of the commit.
    pub(super) fn of_transaction(
        self,
        transaction: TransactionId,
        id: RecordingId,
        place: Option<u64>,
        committed: Timestamp,
    ) -> RecordedStamp {
        RecordedStamp {
            id,
            seq: place,
            ts: committed,
            transaction,
            session: self.session,
            process_id: self.process_id,
            application_name: self.application_name,
            user: self.user,
            release: self.release,
            service: self.service,
            tags: self.tags,
            statement: self.statement,
        }
    }

    fn of_object(object: &Object) -> Result<Self, String> {
        // Each member has a short name beside its full one: every byte of a stamp is written with every transaction.
        let either = |names: [&str; 2]| -> Result<Option<String>, String> {
            let [first, second] = names;
            let found = fields::text(object, first)?.or(fields::text(object, second)?);
            Ok(found.filter(|text| !text.is_empty()))
        };
        let process_id = fields::integer(object, "pid")?.map(u32::try_from).transpose();
        Ok(Stamp {
            transaction: either(["xid", "tx"])?.map(|id| TransactionId(id.into())),
            session: either(["session_id", "session"])?.map(|id| SessionId(id.into())),
            process_id: process_id.map_err(|_| "`pid` is no process id".to_owned())?,
            application_name: either(["application_name", "app"])?.map(Into::into),
            user: either(["user", "session_user"])?.map(Into::into),
            release: either(["release", "version"])?.map(ReleaseName::new),
            service: either(["service", "application"])?.map(ServiceName::new),
            tags: tags(object)?,
            statement: either(["query", "statement"])?.map(Into::into),
            statement_time: fields::time(object, "stmt_ts")?,
        })
    }
}

/// The statement's tags, taken apart under `tags` or as they stand in its `comment`.
fn tags(object: &Object) -> Result<BTreeMap<String, String>, String> {
    let Some(tags) = fields::object(object, "tags")? else {
        return Ok(fields::text(object, "comment")?.as_deref().map(comment_tags).unwrap_or_default());
    };
    let tag = |(name, value): (&String, &Json)| match value {
        Json::String(text) => Ok((name.clone(), text.clone())),
        _ => Err(format!("the tag `{name}` must be a text")),
    };
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_triggers_are_understood() {
        let full = Stamp::parse(
            r#"{"release" : "v42", "application_name" : "shop@v42", "session_id" : "6b03f4a9.4685", "user" : "postgres",
                "client" : null, "xid" : "1181", "stmt_ts" : "2026-11-23T08:09:13.761382+00:00",
                "query" : "UPDATE orders SET total = 1"}"#,
        )
        .expect("a stamp");
        assert_eq!(full.session, Some(SessionId("6b03f4a9.4685".into())));
        assert_eq!(full.transaction, Some(TransactionId("1181".into())));
        assert_eq!(full.application_name.as_deref(), Some("shop@v42"));
        assert_eq!(full.release, Some(ReleaseName::new("v42")));
        assert_eq!(full.statement_time.map(Timestamp::as_micros), Some(1_795_421_353_761_382));
        let short = r#"{"app":"shop@v41","release":null,"pid":18052,"user":"shop","query":"","tags":{"route":"/pay"}}"#;
        let short = Stamp::parse(short).expect("a stamp");
        assert_eq!((short.process_id, short.release, short.statement), (Some(18052), None, None));
        assert_eq!(short.application_name.as_deref(), Some("shop@v41"));
        assert_eq!(short.tags.get("route").map(String::as_str), Some("/pay"));
        let commented = Stamp::parse(r#"{"app":"shop","comment":"/*release='v42%2B1'*/ ;"}"#).expect("a stamp");
        assert_eq!(commented.tags.get("release").map(String::as_str), Some("v42+1"));
    }

    #[test]
    fn a_damaged_stamp_says_so() {
        for (content, reason) in [("{", "no valid JSON"), ("[]", "a JSON object"), (r#"{"pid":-1}"#, "`pid`")] {
            let error = Stamp::parse(content).expect_err(content);
            assert!(error.contains("the stamp is damaged") && error.contains(reason), "{content}: {error}");
        }
    }
}
