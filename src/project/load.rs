//! From the text of a project file to its settings.

use std::path::{Path, PathBuf};

use regex::Regex;

use super::document::{Document, Located, Section, nearest};
use super::settings::{AuditSettings, DatabaseSettings, FailOn, FilePattern, Project};
use super::{ProjectError, SourceLocation};
use crate::model::{
    ColumnName, Deploy, Derive, ReleaseName, ReleaseSettings, ServiceName, TableName, TableSettings,
    TableSettingsByName, TimeZone, Timestamp,
};

const DEFAULT_STORE: &str = ".blast-radius";
const DEFAULT_RELEASE_PATTERN: &str = r"^(?<service>[\w.-]+)@(?<release>[\w.+-]+)$";
const DEFAULT_RELEASE_TAGS: [&str; 2] = ["release", "version"];
const DEFAULT_SERVICE_TAGS: [&str; 2] = ["service", "application"];

impl Project {
    /// Loads and checks a project file.
    ///
    /// # Errors
    /// A file that cannot be read, or its first mistake.
    pub fn load(file: &Path) -> Result<Project, ProjectError> {
        let unreadable = |reason: String| ProjectError::Unreadable { file: file.to_owned(), reason };
        let bytes = std::fs::read(file).map_err(|error| unreadable(error.to_string()))?;
        let text =
            String::from_utf8(bytes).map_err(|error| unreadable(format!("it is no UTF-8: {}", error.utf8_error())))?;
        let absolute = std::path::absolute(file).map_err(|error| unreadable(error.to_string()))?;
        let folder = absolute.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
        Loader { document: Document::new(file, &text), folder }.project(absolute)
    }
}

struct Loader<'text> {
    document: Document<'text>,
    folder: PathBuf,
}

impl Loader<'_> {
    fn project(&self, file: PathBuf) -> Result<Project, ProjectError> {
        let parsed = self.document.parse()?;
        let mut root = self.document.root(parsed.get_ref());
        let database = root.section("database")?.map(|section| self.database(section)).transpose()?;
        let (database, time_zone) = database.unwrap_or_default();
        let mut project = Project {
            file,
            folder: self.folder.clone(),
            database,
            time_zone,
            store: self.store(root.section("store")?)?,
            ingest: root.section("ingest")?.map(|section| self.ingest(section)).transpose()?.unwrap_or_default(),
            release: self.release(root.section("release")?)?,
            deploys: root
                .listed_sections("deploy")?
                .into_iter()
                .map(|(span, section)| self.deploy(section, span))
                .collect::<Result<_, _>>()?,
            audit: root.section("audit")?.map(|section| self.audit(section)).transpose()?.unwrap_or_default(),
            tables: self.tables(root.named_sections("tables")?)?,
            derives: root
                .listed_sections("derive")?
                .into_iter()
                .map(|(span, section)| self.derive(section, span))
                .collect::<Result<_, _>>()?,
        };
        root.finish()?;
        for derive in &project.derives {
            let settings = project.tables.entry(derive.table.clone()).or_default();
            if settings.key.is_empty() {
                settings.key.clone_from(&derive.key);
            }
        }
        Ok(project)
    }

    fn database(
        &self,
        mut section: Section<'_, '_>,
    ) -> Result<(Option<DatabaseSettings>, Option<TimeZone>), ProjectError> {
        let url = section.text("url")?;
        let files = section.text("files")?;
        let schemas = match section.texts("schemas")? {
            Some(schemas) => schemas.into_iter().map(|schema| schema.value).collect(),
            None => vec!["public".to_owned()],
        };
        let time_zone = section.text("timezone")?.map(|written| self.time_zone(&written)).transpose()?;
        let files_key = section.key_span("files");
        section.finish()?;
        let settings = match (url, files) {
            (Some(_), Some(_)) => {
                let reason =
                    "`files` beside `url`: the data is either in a database or in a folder; remove one of them";
                Err(self.document.mistake(files_key, reason))
            }
            (Some(url), None) => self.database_url(url, schemas).map(Some),
            (None, Some(files)) => {
                let folder = self.folder.join(self.not_empty("files", files)?.value);
                Ok(Some(DatabaseSettings::Folder(folder)))
            }
            (None, None) => Ok(None),
        };
        Ok((settings?, time_zone))
    }

    fn time_zone(&self, written: &Located<String>) -> Result<TimeZone, ProjectError> {
        let zone = TimeZone::named(&written.value);
        match zone.is_known() {
            true => Ok(zone),
            false => {
                let reason = format!("'{}' is no time zone that is known here, such as \"Europe/Berlin\"", zone.name());
                Err(self.document.mistake(written.span.clone(), reason))
            }
        }
    }

    fn database_url(&self, url: Located<String>, schemas: Vec<String>) -> Result<DatabaseSettings, ProjectError> {
        match url.value.strip_prefix("env:") {
            Some(name) if name.is_empty() || name.contains(['=', '\0']) => Err(self
                .document
                .mistake(url.span, "`env:` must be followed by the name of a variable, such as `env:DATABASE_URL`")),
            Some(name) => Ok(DatabaseSettings::Environment {
                name: name.to_owned(),
                schemas,
                location: self.location_without_secret(&url),
            }),
            None => Ok(DatabaseSettings::Url { url: url.value, schemas }),
        }
    }

    /// `env:NAME` holds no secret, so its line may be shown.
    fn location_without_secret(&self, url: &Located<String>) -> SourceLocation {
        self.document.location(url.span.clone())
    }

    fn store(&self, section: Option<Section<'_, '_>>) -> Result<String, ProjectError> {
        let Some(mut section) = section else { return Ok(self.absolute(DEFAULT_STORE)) };
        let path = section.text("path")?;
        section.finish()?;
        match path {
            None => Ok(self.absolute(DEFAULT_STORE)),
            Some(path) => {
                let path = self.not_empty("path", path)?.value;
                Ok(if path.contains("://") { path } else { self.absolute(&path) })
            }
        }
    }

    fn absolute(&self, path: &str) -> String {
        self.folder.join(path).to_string_lossy().into_owned()
    }

    fn ingest(&self, mut section: Section<'_, '_>) -> Result<Vec<FilePattern>, ProjectError> {
        let files = section.texts("files")?.unwrap_or_default();
        section.finish()?;
        files.into_iter().map(|written| self.file_pattern(written)).collect()
    }

    fn file_pattern(&self, written: Located<String>) -> Result<FilePattern, ProjectError> {
        let written = self.not_empty("files", written)?;
        // The folder's own name may hold `[` or `*`: it is no pattern.
        let pattern = if Path::new(&written.value).is_absolute() {
            written.value.clone()
        } else {
            format!("{}/{}", glob::Pattern::escape(&self.folder.to_string_lossy()), written.value)
        };
        if let Err(error) = glob::Pattern::new(&written.value) {
            return Err(self
                .document
                .mistake(written.span, format!("`{}` is no file pattern: {}", written.value, error.msg)));
        }
        Ok(FilePattern { written: written.value, pattern, location: self.document.location(written.span) })
    }

    fn release(&self, section: Option<Section<'_, '_>>) -> Result<ReleaseSettings, ProjectError> {
        let mut settings = ReleaseSettings {
            pattern: self.release_pattern(&Located { value: DEFAULT_RELEASE_PATTERN.to_owned(), span: 0..0 })?,
            release_tags: DEFAULT_RELEASE_TAGS.map(str::to_owned).to_vec(),
            service_tags: DEFAULT_SERVICE_TAGS.map(str::to_owned).to_vec(),
        };
        let Some(mut section) = section else { return Ok(settings) };
        if let Some(pattern) = section.text("pattern")? {
            settings.pattern = self.release_pattern(&pattern)?;
        }
        if let Some(mut tags) = section.section("tags")? {
            let values = |tags: Vec<Located<String>>| tags.into_iter().map(|tag| tag.value).collect();
            if let Some(release_tags) = tags.texts("release")? {
                settings.release_tags = values(release_tags);
            }
            if let Some(service_tags) = tags.texts("service")? {
                settings.service_tags = values(service_tags);
            }
            tags.finish()?;
        }
        section.finish()?;
        Ok(settings)
    }

    fn release_pattern(&self, written: &Located<String>) -> Result<Regex, ProjectError> {
        let mistake = |reason: String| self.document.mistake(written.span.clone(), reason);
        let pattern = Regex::new(&written.value).map_err(|error| {
            // The regex crate draws the mistake over several lines, the last of which says what it is.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            mistake(format!("`pattern` is no regular expression: {reason}"))
        })?;
        if pattern.capture_names().flatten().any(|name| name == "release") {
            Ok(pattern)
        } else {
            Err(mistake("`pattern` must name the group that holds the release: `(?<release>…)`".to_owned()))
        }
    }

    fn deploy(&self, mut section: Section<'_, '_>, span: std::ops::Range<usize>) -> Result<Deploy, ProjectError> {
        let service = section.text("service")?.map(|service| self.not_empty("service", service)).transpose()?;
        let release = section.required_text("release", span.clone())?;
        let release = self.not_empty("release", release)?;
        let from = section.time_text("from")?.ok_or_else(|| self.document.mistake(span, "`from` is missing here"))?;
        let until = section.time_text("until")?;
        section.finish()?;
        let from = self.time("from", &from)?;
        let until = until.map(|until| Ok((self.time("until", &until)?, until.span))).transpose()?;
        if let Some((end, span)) = &until
            && *end <= from
        {
            return Err(self.document.mistake(span.clone(), "`until` must be later than `from`"));
        }
        Ok(Deploy {
            service: service.map(|service| ServiceName::new(service.value)),
            release: ReleaseName::new(release.value),
            from,
            until: until.map(|(end, _)| end),
        })
    }

    fn time(&self, key: &str, written: &Located<String>) -> Result<Timestamp, ProjectError> {
        written.value.parse().map_err(|_| {
            let reason = format!(
                "`{key}` is no point in time: write it with its offset, such as \"2026-03-02T10:00:00Z\", not \"{}\"",
                written.value
            );
            self.document.mistake(written.span.clone(), reason)
        })
    }

    fn audit(&self, mut section: Section<'_, '_>) -> Result<AuditSettings, ProjectError> {
        let rules = section.texts("rules")?.unwrap_or_default();
        let fail_on = section.text("fail_on")?;
        let accepted = section.text("accepted")?.map(|accepted| self.not_empty("accepted", accepted)).transpose()?;
        section.finish()?;
        let fail_on = match fail_on {
            None => FailOn::default(),
            Some(written) => match written.value.as_str() {
                "error" => FailOn::Error,
                "warn" => FailOn::Warn,
                other => {
                    let suggestion = nearest(other, ["error", "warn"].into_iter());
                    return Err(self
                        .document
                        .mistake(written.span, format!("`fail_on` cannot be `{other}`{suggestion}")));
                }
            },
        };
        Ok(AuditSettings {
            rules: rules
                .into_iter()
                .map(|rule| Ok(self.folder.join(self.not_empty("rules", rule)?.value)))
                .collect::<Result<_, ProjectError>>()?,
            fail_on,
            accepted: accepted.map(|accepted| self.folder.join(accepted.value)),
        })
    }

    fn tables(&self, sections: Vec<(Located<String>, Section<'_, '_>)>) -> Result<TableSettingsByName, ProjectError> {
        let mut tables = TableSettingsByName::new();
        for (written, mut section) in sections {
            let name = self.table_name(&written)?;
            let settings = TableSettings {
                key: self.columns(&mut section, "key")?.unwrap_or_default(),
                updated_at: self.column(&mut section, "updated_at")?,
                subject: self.column(&mut section, "subject")?,
                personal: self.columns(&mut section, "personal")?.unwrap_or_default(),
                external: section.boolean("external")?.unwrap_or_default(),
            };
            section.finish()?;
            if tables.insert(name.clone(), settings).is_some() {
                return Err(self.document.mistake(written.span, format!("table {name} is described twice")));
            }
        }
        Ok(tables)
    }

    fn derive(&self, mut section: Section<'_, '_>, span: std::ops::Range<usize>) -> Result<Derive, ProjectError> {
        let table = section.required_text("table", span.clone())?;
        let key = self
            .columns(&mut section, "key")?
            .filter(|key| !key.is_empty())
            .ok_or_else(|| self.document.mistake(span.clone(), "`key` is missing here: a list of columns"))?;
        let sql = section.required_text("sql", span)?;
        section.finish()?;
        Ok(Derive { table: self.table_name(&table)?, key, sql: self.not_empty("sql", sql)?.value })
    }

    fn table_name(&self, written: &Located<String>) -> Result<TableName, ProjectError> {
        written.value.parse().map_err(|_| {
            let reason = format!("`{}` is no table: write `schema.table`, or `table` for one in public", written.value);
            self.document.mistake(written.span.clone(), reason)
        })
    }

    fn column(&self, section: &mut Section<'_, '_>, key: &'static str) -> Result<Option<ColumnName>, ProjectError> {
        let column = section.text(key)?.map(|column| self.not_empty(key, column)).transpose()?;
        Ok(column.map(|column| ColumnName::from(column.value)))
    }

    fn columns(
        &self,
        section: &mut Section<'_, '_>,
        key: &'static str,
    ) -> Result<Option<Vec<ColumnName>>, ProjectError> {
        let Some(columns) = section.texts(key)? else { return Ok(None) };
        columns
            .into_iter()
            .map(|column| Ok(ColumnName::from(self.not_empty(key, column)?.value)))
            .collect::<Result<_, ProjectError>>()
            .map(Some)
    }

    fn not_empty(&self, key: &str, written: Located<String>) -> Result<Located<String>, ProjectError> {
        if written.value.trim().is_empty() {
            return Err(self.document.mistake(written.span, format!("`{key}` must not be empty")));
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use std::env::VarError;

    use super::*;
    use crate::model::DatabaseSource;

    const WHOLE: &str = r#"
[database]
url = "env:SHOP_DATABASE_URL"
schemas = ["public", "billing"]

[store]
path = "history"

[ingest]
files = ["events/*.ndjson.zst", "/var/log/postgresql/*.json"]

[release]
pattern = '^rel-(?<release>\d+)$'
tags = { release = ["rel"] }

[[deploy]]
service = "shop"
release = "v42"
from = "2026-03-02T10:00:00Z"
until = 2026-03-02T15:30:00+01:00

[audit]
rules = ["rules"]
fail_on = "warn"
accepted = "accepted.yaml"

[tables."public.orders"]
key = ["id"]
updated_at = "updated_at"
subject = "customer_id"
personal = ["email"]
external = true

[[derive]]
table = "daily_sales"
key = ["day"]
sql = "SELECT 1"
"#;

    fn load(text: &str) -> (tempfile::TempDir, Result<Project, ProjectError>) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("blast-radius.toml");
        std::fs::write(&file, text).expect("written");
        let project = Project::load(&file);
        (folder, project)
    }

    /// The mistake's line, column, marked text and reason.
    fn mistake(text: &str) -> (usize, String, String) {
        let (_folder, project) = load(text);
        let error = project.expect_err("a mistake");
        let ProjectError::Invalid { location, reason } = error else { panic!("{error}") };
        let marked = location.line_text.chars().skip(location.column - 1).take(location.length).collect();
        (location.line, marked, reason)
    }

    #[test]
    fn every_setting_is_read() {
        let (folder, project) = load(WHOLE);
        let project = project.expect("valid");
        let folder = folder.path();
        assert_eq!(project.store, folder.join("history").to_string_lossy());
        assert_eq!(project.ingest[0].pattern, folder.join("events/*.ndjson.zst").to_string_lossy());
        assert_eq!(project.ingest[1].pattern, "/var/log/postgresql/*.json");
        assert!(project.release.pattern.is_match("rel-42"));
        assert_eq!(project.release.release_tags, ["rel"]);
        assert_eq!(project.release.service_tags, ["service", "application"]);
        assert_eq!(project.deploys[0].from.to_string(), "2026-03-02T10:00:00Z");
        assert_eq!(project.deploys[0].until.map(|until| until.to_string()).as_deref(), Some("2026-03-02T14:30:00Z"));
        assert_eq!(project.audit.fail_on, FailOn::Warn);
        assert_eq!(project.audit.rules, [folder.join("rules")]);
        assert_eq!(project.audit.accepted, Some(folder.join("accepted.yaml")));
        let orders = &project.tables[&TableName::new("public", "orders")];
        assert_eq!(orders.key, ["id".into()]);
        assert!(orders.external);
        assert_eq!(project.derives[0].table, TableName::new("public", "daily_sales"));
        assert_eq!(project.tables[&project.derives[0].table].key, ["day".into()], "a table without a key gets its");
    }

    #[test]
    fn an_empty_file_has_the_defaults() {
        let (folder, project) = load("");
        let project = project.expect("valid");
        assert_eq!(project.store, folder.path().join(".blast-radius").to_string_lossy());
        assert!(project.release.pattern.is_match("shop@v42"));
        assert_eq!(project.database().expect("nothing to look up"), None);
        assert!(project.ingest.is_empty() && project.deploys.is_empty() && project.tables.is_empty());
    }

    #[test]
    fn the_database_is_a_url_a_variable_or_a_folder() {
        let (_folder, project) = load(WHOLE);
        let project = project.expect("valid");
        let url = "postgres://shop@db/shop".to_owned();
        let found = project.database_with(|name| {
            if name == "SHOP_DATABASE_URL" { Ok(url.clone()) } else { Err(VarError::NotPresent) }
        });
        let schemas = vec!["public".to_owned(), "billing".to_owned()];
        assert_eq!(found.expect("set"), Some(DatabaseSource::Postgres { url, schemas }));
        let missing = project.database_with(|_| Err(VarError::NotPresent)).expect_err("not set");
        assert!(missing.to_string().contains("SHOP_DATABASE_URL is not set"), "{missing}");
        assert_eq!(missing.location().map(|location| location.line), Some(3));

        let (folder, project) = load("[database]\nfiles = \"data\"\n");
        let source = project.expect("valid").database().expect("nothing to look up");
        assert_eq!(source, Some(DatabaseSource::Folder(folder.path().join("data"))));
    }

    #[test]
    fn unknown_keys_are_named_with_their_nearest_at_any_depth() {
        for (text, line, marked, suggestion) in [
            ("[databse]\nurl = \"x\"\n", 1, "databse", "did you mean `database`?"),
            ("[database]\nurls = \"x\"\n", 2, "urls", "did you mean `url`?"),
            ("[release]\ntags = { releases = [] }\n", 2, "releases", "did you mean `release`?"),
            ("[[deploy]]\nrelease = \"v1\"\nfrom = \"2026-03-02T10:00:00Z\"\nto = \"x\"\n", 4, "to", "`until`"),
            ("[tables.orders]\n  personnal = [\"email\"]\n", 2, "personnal", "did you mean `personal`?"),
            ("[[derive]]\ntable = \"t\"\nkey = [\"a\"]\nsql = \"x\"\nquery = 1\n", 5, "query", "`sql`"),
        ] {
            let (found_line, found_marked, reason) = mistake(text);
            assert_eq!((found_line, found_marked.as_str()), (line, marked), "{text}");
            assert!(reason.starts_with("unknown key") && reason.contains(suggestion), "{reason}");
        }
    }

    #[test]
    fn wrong_values_are_pointed_at() {
        for (text, line, marked, expected) in [
            ("[database]\nurl = \"x\"\nfiles = \"data\"\n", 3, "files", "remove one of them"),
            ("[database]\nurl = \"env:\"\n", 2, "\"env:\"", "name of a variable"),
            ("[release]\npattern = '('\n", 2, "'('", "no regular expression: unclosed group"),
            ("[release]\npattern = '^(.*)$'\n", 2, "'^(.*)$'", "(?<release>…)"),
            ("[[deploy]]\nrelease = \"v1\"\nfrom = \"yesterday\"\n", 3, "\"yesterday\"", "with its offset"),
            ("[[deploy]]\nfrom = \"2026-03-02T10:00:00Z\"\n", 1, "[[deploy]]", "`release` is missing"),
            (
                "[[deploy]]\nrelease = \"v1\"\nfrom = \"2026-03-02T10:00:00Z\"\nuntil = \"2026-03-02T09:00:00Z\"\n",
                4,
                "\"2026-03-02T09:00:00Z\"",
                "later than `from`",
            ),
            ("[audit]\nfail_on = \"warning\"\n", 2, "\"warning\"", "did you mean `warn`?"),
            ("[ingest]\nfiles = [\"a/***\"]\n", 2, "\"a/***\"", "no file pattern"),
            ("[ingest]\nfiles = \"a\"\n", 2, "\"a\"", "a list of texts"),
            ("[tables.\"a.b.c\"]\nexternal = true\n", 1, "\"a.b.c\"", "no table"),
            ("[tables.orders]\nexternal = 1\n", 2, "1", "must be true or false, not a number"),
            ("[store]\npath = \"\"\n", 2, "\"\"", "must not be empty"),
        ] {
            let (found_line, found_marked, reason) = mistake(text);
            assert_eq!((found_line, found_marked.as_str()), (line, marked), "{text}: {reason}");
            assert!(reason.contains(expected), "{reason}");
        }
        let (line, _, _) = mistake("[database]\nurl = \n");
        assert_eq!(line, 2, "a mistake in the TOML itself");
    }

    #[test]
    fn a_project_is_found_from_below_and_its_absence_says_how_to_begin() {
        let (folder, _) = load("");
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).expect("created");
        assert_eq!(Project::find(&below).expect("found").folder, folder.path());
        let elsewhere = tempfile::tempdir().expect("a temporary folder");
        let error = Project::find(elsewhere.path()).expect_err("nothing there");
        assert!(error.to_string().contains("create one there"), "{error}");
    }

    #[test]
    fn a_password_is_never_shown() {
        let (_folder, project) = load("[database]\nurll = \"postgres://me:s3cr3t@db/shop\"\n");
        let error = project.expect_err("unknown key");
        let location = error.location().expect("a place");
        assert_eq!(location.line_text, "urll = \"postgres://me:******@db/shop\"");
        assert_eq!(location.column, 1);
    }
}
