//! Whose write: the surest evidence wins, and the attribution says which it was.

use std::collections::BTreeMap;

use crate::model::{
    Attribution, Deploy, Evidence, RecordedStamp, RecordedWrite, Release, ReleaseName, ReleaseSettings, ServiceName,
    Timestamp,
};
use crate::sql::comment_tags;

/// What attributes a write, from the project file.
#[derive(Clone, Copy, Debug)]
pub struct Attributor<'a> {
    /// How a write names its release.
    pub release: &'a ReleaseSettings,
    /// What was live when.
    pub deploys: &'a [Deploy],
}

/// What was said around a write, beside the write itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// The statement that made it.
    pub sql: Option<&'a str>,
    /// The `application_name` of its session, as the log tells it.
    pub application_name: Option<&'a str>,
    /// The stamp it stands behind.
    pub stamp: Option<&'a RecordedStamp>,
}

impl Attributor<'_> {
    /// In the design's order: the event's own tag (or its stamp's), a tag in the SQL comment, `application_name`, a deploy
    /// window.
    pub fn attribute(&self, write: &RecordedWrite, said: Said<'_>) -> Option<Attribution> {
        let stamp = said.stamp;
        let application_name = said.application_name.or_else(|| stamp?.application_name.as_deref());
        self.by_event(write)
            .or_else(|| self.by_stamp(stamp?, application_name))
            .or_else(|| said.sql.and_then(|sql| self.by_comment(sql)))
            .or_else(|| self.by_tags(&stamp?.tags))
            .or_else(|| self.by_comment(stamp?.statement.as_deref()?))
            .or_else(|| self.by_application_name(application_name?))
            .or_else(|| self.by_deploy(write.service.as_ref(), write.ts))
    }

    /// The same for a transaction that wrote no row.
    pub fn attribute_unwritten(
        &self,
        sql: &[&str],
        application_name: Option<&str>,
        ts: Timestamp,
    ) -> Option<Attribution> {
        sql.iter()
            .find_map(|sql| self.by_comment(sql))
            .or_else(|| self.by_application_name(application_name?))
            .or_else(|| self.by_deploy(None, ts))
    }

    fn by_event(&self, write: &RecordedWrite) -> Option<Attribution> {
        let name = write.release.clone()?;
        Some(Attribution { release: Release { service: write.service.clone(), name }, evidence: Evidence::Event })
    }

    /// A stamp that names its release and no service is of the service that `application_name` names with it.
    fn by_stamp(&self, stamp: &RecordedStamp, application_name: Option<&str>) -> Option<Attribution> {
        let name = stamp.release.clone()?;
        let of_application = || {
            let attribution = self.by_application_name(application_name?)?;
            attribution.release.service.filter(|_| attribution.release.name == name)
        };
        let service = stamp.service.clone().or_else(of_application);
        Some(Attribution { release: Release { service, name }, evidence: Evidence::Event })
    }

    fn by_comment(&self, sql: &str) -> Option<Attribution> {
        if !sql.contains("/*") {
            return None;
        }
        self.by_tags(&comment_tags(sql))
    }

    fn by_tags(&self, tags: &BTreeMap<String, String>) -> Option<Attribution> {
        let first = |names: &[String]| names.iter().find_map(|name| tags.get(name)).cloned();
        let name = ReleaseName::new(first(&self.release.release_tags)?);
        let service = first(&self.release.service_tags).map(ServiceName::new);
        Some(Attribution { release: Release { service, name }, evidence: Evidence::Comment })
    }

    fn by_application_name(&self, application_name: &str) -> Option<Attribution> {
        let found = self.release.pattern.captures(application_name)?;
        let name = ReleaseName::new(found.name("release")?.as_str());
        let service = found.name("service").map(|service| ServiceName::new(service.as_str()));
        Some(Attribution { release: Release { service, name }, evidence: Evidence::ApplicationName })
    }

    /// The one window that holds the time; two windows of different releases (a canary) decide nothing.
    fn by_deploy(&self, service: Option<&ServiceName>, ts: Timestamp) -> Option<Attribution> {
        let mut live = self.deploys.iter().filter(|deploy| {
            let same_service = service.is_none() || deploy.service.is_none() || deploy.service.as_ref() == service;
            same_service && deploy.from <= ts && deploy.until.is_none_or(|until| ts < until)
        });
        let deploy = live.next()?;
        if live.next().is_some() {
            return None;
        }
        let release = Release { service: deploy.service.clone(), name: deploy.release.clone() };
        Some(Attribution { release, evidence: Evidence::DeployWindow })
    }
}
