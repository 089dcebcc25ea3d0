//! Whose write: the surest evidence wins, and the attribution says which it was.

use crate::model::{
    Attribution, Deploy, Evidence, RecordedWrite, Release, ReleaseName, ReleaseSettings, ServiceName, Timestamp,
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

impl Attributor<'_> {
    /// In the design's order: the event's own tag, a tag in the SQL comment, `application_name`, a deploy window.
    pub fn attribute(
        &self,
        write: &RecordedWrite,
        sql: Option<&str>,
        application_name: Option<&str>,
    ) -> Option<Attribution> {
        self.by_event(write)
            .or_else(|| sql.and_then(|sql| self.by_comment(sql)))
            .or_else(|| application_name.and_then(|name| self.by_application_name(name)))
            .or_else(|| self.by_deploy(write.service.as_ref(), write.ts))
    }

    fn by_event(&self, write: &RecordedWrite) -> Option<Attribution> {
        let name = write.release.clone()?;
        Some(Attribution { release: Release { service: write.service.clone(), name }, evidence: Evidence::Event })
    }

    fn by_comment(&self, sql: &str) -> Option<Attribution> {
        if !sql.contains("/*") {
            return None;
        }
        let tags = comment_tags(sql);
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
