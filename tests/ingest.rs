//! From files to the store: what is recorded is stored once, and what is damaged is not lost.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use blast_radius::capture::{FormatChoice, format_names};
use blast_radius::cli::commands::ingest::ingest;
use blast_radius::cli::recorded::{IngestError, IngestSummary, read_new};
use blast_radius::model::{LogEventKind, Operation, TransactionId, Value};
use blast_radius::project::Project;
use blast_radius::store::{Appended, Store};
use tempfile::TempDir;

/// A project in a folder of its own.
struct Incident {
    folder: TempDir,
}

impl Incident {
    fn new(project_file: &str) -> Self {
        let incident = Incident { folder: tempfile::tempdir().expect("a temporary folder") };
        incident.write("blast-radius.toml", project_file.as_bytes());
        incident
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(&path, content).expect("written");
        path
    }

    fn project(&self) -> Project {
        Project::find(self.folder.path()).expect("a project")
    }

    async fn ingest(&self, files: &[PathBuf]) -> Result<IngestSummary, IngestError> {
        ingest(&self.project(), files, &FormatChoice::AUTO, false).await
    }

    async fn store(&self) -> Store {
        Store::open(&self.project().store).await.expect("a store")
    }

    /// The keys of the stored writes in the order of the contract.
    async fn keys(&self) -> Vec<String> {
        let writes = self.store().await.writes().await.expect("read");
        let key = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        writes.iter().map(|write| key(write.key.get("id"))).collect()
    }

    /// Line numbers and reasons of the stored rejected lines.
    async fn rejected(&self) -> Vec<(u64, String)> {
        let lines = self.store().await.rejected().await.expect("read");
        lines.into_iter().map(|line| (line.line, line.reason)).collect()
    }
}

fn event(id: u64) -> String {
    format!(
        "{{\"ts\":\"2026-03-02T10:15:{:02}.5Z\",\"release\":\"v42\",\"service\":\"shop\",\"seq\":{id},\
         \"table\":\"public.orders\",\"op\":\"insert\",\"key\":{{\"id\":{id}}},\
         \"after\":{{\"id\":{id},\"total\":10.00,\"note\":null}}}}\n",
        id % 60
    )
}

fn events(ids: impl Iterator<Item = u64>) -> String {
    ids.map(event).collect()
}

fn log_line(number: u64, message: &str, transaction: u64) -> String {
    format!(
        "{{\"timestamp\":\"2026-03-02 10:15:30.{number:03} UTC\",\"session_id\":\"69a5b1c2.1a2b\",\"line_num\":{number},\
         \"vxid\":\"3/{number}\",\"txid\":{transaction},\"error_severity\":\"LOG\",\"message\":\"{message}\",\
         \"application_name\":\"shop@v42\",\"backend_type\":\"client backend\"}}\n"
    )
}

fn new_writes(writes: u64) -> Appended {
    Appended { writes, ..Appended::default() }
}

#[tokio::test]
async fn what_is_ingested_twice_is_stored_once() {
    let incident = Incident::new("");
    let log = log_line(1, "duration: 1.0 ms  statement: SELECT 1", 0) + &log_line(2, "statement: COMMIT", 733);
    let files =
        [incident.write("events.ndjson", events(1..=3).as_bytes()), incident.write("postgresql.json", log.as_bytes())];
    let first = incident.ingest(&files).await.expect("ingested");
    assert_eq!(first.appended(), Appended { writes: 3, log: 2, ..Appended::default() });
    let second = incident.ingest(&files).await.expect("ingested");
    assert_eq!(second.appended(), Appended { duplicates: 5, ..Appended::default() });
    assert_eq!(incident.keys().await, ["1", "2", "3"]);
    assert_eq!(incident.store().await.log().await.expect("read").len(), 2);

    let writes = incident.store().await.writes().await.expect("read");
    let after = writes[0].after.as_ref().expect("an image");
    assert_eq!(writes[0].operation, Operation::Insert);
    assert_eq!((after.get("total"), after.get("note")), (Some(&Value::text("10.00")), Some(&Value::NULL)));
}

#[tokio::test]
async fn damaged_lines_are_kept_with_their_numbers_and_the_rest_is_read() {
    let incident = Incident::new("");
    let mut content = event(1).into_bytes();
    content.extend(b"{\"ts\":\"2026-03-02T10:15:30Z\",\"table\":\"public.orders\",\"op\":\"ins\n");
    content.extend(event(2).into_bytes());
    content.extend(b"\n{\"ts\":\"2026-03-02T10:15:30Z\",\"table\":\"public.orders\",\"op\":\"insert\",\"key\":{\"id\":\"\xff\"}}\n");
    content.extend(event(3).into_bytes());
    content.extend(b"{\"ts\":\"2026-03-02T10:15:30Z\",\"table\":\"public.orders\",\"op\":\"insert\"}\n");
    let file = incident.write("events.ndjson", &content);

    let strict = ingest(&incident.project(), std::slice::from_ref(&file), &FormatChoice::AUTO, true).await;
    let error = strict.expect_err("damaged lines");
    assert!(matches!(error, IngestError::Damaged { rejected: 3, .. }), "{error}");
    assert!(error.to_string().contains("events.ndjson:2: "), "{error}");
    assert!(incident.store().await.is_empty());

    let summary = incident.ingest(std::slice::from_ref(&file)).await.expect("ingested");
    assert_eq!(summary.appended(), Appended { writes: 3, rejected: 3, ..Appended::default() });
    assert_eq!(summary.rejected(), 3);
    assert_eq!(incident.keys().await, ["1", "2", "3"]);
    let rejected = incident.rejected().await;
    assert_eq!(rejected.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 5, 7]);
    for ((_, reason), expected) in rejected.iter().zip(["no valid JSON", "not UTF-8", "neither `key` nor an image"]) {
        assert!(reason.contains(expected), "{reason}");
    }

    let again = incident.ingest(&[file]).await.expect("ingested");
    assert_eq!(again.rejected(), 3, "they are damaged still");
    assert_eq!(again.appended(), Appended { duplicates: 6, ..Appended::default() });
    assert_eq!(incident.rejected().await.len(), 3);
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content.as_bytes()).expect("compressed");
    encoder.finish().expect("compressed")
}

fn zstandard(content: &str) -> Vec<u8> {
    zstd::encode_all(content.as_bytes(), 3).expect("compressed")
}

#[tokio::test]
async fn compressed_inputs_are_read_as_they_are() {
    let incident = Incident::new("");
    // An archive that grows is several, one after the other.
    let files = [
        incident.write("a.ndjson.gz", &[gzip(&events(1..=2)), gzip(&event(3))].concat()),
        incident.write("b.ndjson.zst", &[zstandard(&events(4..=5)), zstandard(&event(6))].concat()),
        incident.write("named-like-no-archive", &zstandard(&event(7))),
    ];
    let summary = incident.ingest(&files).await.expect("ingested");
    assert_eq!(summary.appended(), new_writes(7));
    assert_eq!(incident.keys().await, ["1", "2", "3", "4", "5", "6", "7"]);
}

#[tokio::test]
async fn of_a_cut_archive_the_sound_part_is_read_and_the_cut_is_told() {
    let incident = Incident::new("");
    // Incompressible enough that the cut falls behind whole lines.
    let content: String =
        (1..=2_000).map(|id| event(id).replace("null", &format!("\"{}\"", blake3::hash(&id.to_le_bytes())))).collect();
    for (name, archive) in [("a.gz", gzip(&content)), ("b.zst", zstandard(&content))] {
        let cut = incident.write(name, &archive[..archive.len() - 2_000]);
        let summary = incident.ingest(&[cut]).await.expect("ingested");
        let read = &summary.inputs[0].read;
        assert!(read.lines > 500, "{name}: {} lines", read.lines);
        assert!((1..=2).contains(&summary.rejected()), "{name}: {} rejected", summary.rejected());
        let last = summary.first_rejected.last().expect("a rejected line");
        assert!(last.reason.contains("damaged from here on"), "{name}: {}", last.reason);
    }
}

#[tokio::test]
async fn a_plain_log_that_was_read_within_its_last_message_is_told_whole_once_it_has_grown() {
    let whole = "\
2026-11-23 08:31:29.417 UTC [1665] LOG:  duration: 0.100 ms  statement: BEGIN
2026-11-23 08:31:29.418 UTC [1665] LOG:  duration: 0.470 ms  execute <unnamed>: UPDATE orders
\tSET total = $1
\tWHERE id = $2
2026-11-23 08:31:29.418 UTC [1665] DETAIL:  parameters: $1 = '10.00', $2 = '7'
2026-11-23 08:31:29.419 UTC [1665] LOG:  duration: 0.100 ms  statement: COMMIT
";
    let cuts = ["\tWHERE id", "2026-11-23 08:31:29.418 UTC [1665] DETAIL", "2026-11-23 08:31:29.419"];
    for cut in cuts.map(|cut| whole.find(cut).expect("it is in the log")).into_iter().chain([whole.len() - 4]) {
        let incident = Incident::new("");
        incident.ingest(&[incident.write("shop.log", &whole.as_bytes()[..cut])]).await.expect("ingested");
        incident.ingest(&[incident.write("shop.log", whole.as_bytes())]).await.expect("ingested");
        let log = incident.store().await.log().await.expect("read");
        let told: Vec<_> = log.iter().map(|event| event.sql.as_deref().unwrap_or_default()).collect();
        assert_eq!(told, ["BEGIN", "UPDATE orders\nSET total = $1\nWHERE id = $2", "COMMIT"], "cut at {cut}");
        assert_eq!(log[1].parameters, [Some(Value::text("10.00")), Some(Value::text("7"))], "cut at {cut}");
    }
}

#[tokio::test]
async fn a_file_that_grows_is_read_on() {
    let incident = Incident::new("[ingest]\nfiles = [\"events/*.ndjson\"]\n");
    let content = events(1..=3);
    incident.write("events/a.ndjson", &content.as_bytes()[..content.len() - 20]);
    let mut store = incident.store().await;
    let summary = read_new(&incident.project(), &mut store).await.expect("read");
    assert_eq!(summary.appended(), Appended { writes: 2, rejected: 1, ..Appended::default() });
    assert!(summary.first_rejected[0].reason.contains("ends in the middle of this line"), "{summary}");

    let unchanged = read_new(&incident.project(), &mut store).await.expect("read");
    assert_eq!((unchanged.unchanged, unchanged.inputs.len()), (1, 0));

    incident.write("events/a.ndjson", events(1..=4).as_bytes());
    incident.write("events/b.ndjson", events(4..=5).as_bytes());
    let grown = read_new(&incident.project(), &mut store).await.expect("read");
    assert_eq!(grown.appended(), Appended { writes: 3, duplicates: 3, ..Appended::default() });
    assert_eq!(grown.rejected(), 0);
    assert_eq!(incident.keys().await, ["1", "2", "3", "4", "5"]);

    // Written again with the same content: another time of change, nothing new.
    std::thread::sleep(std::time::Duration::from_millis(20));
    incident.write("events/b.ndjson", events(4..=5).as_bytes());
    let touched = read_new(&incident.project(), &mut store).await.expect("read");
    assert_eq!(touched.unchanged, 2);
}

#[tokio::test]
async fn a_log_that_was_read_in_the_middle_of_a_statement_is_completed() {
    let incident = Incident::new("");
    let begun = log_line(1, "statement: UPDATE orders SET total = 1", 0);
    let file = incident.write("postgresql.json", begun.as_bytes());
    incident.ingest(std::slice::from_ref(&file)).await.expect("ingested");
    let log = incident.store().await.log().await.expect("read");
    assert_eq!((log.len(), &log[0].transaction), (1, &None));

    incident.write("postgresql.json", (begun + &log_line(2, "duration: 1.000 ms", 733)).as_bytes());
    incident.ingest(&[file]).await.expect("ingested");
    let log = incident.store().await.log().await.expect("read");
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].kind, log[0].line), (LogEventKind::Statement, 1));
    assert_eq!(log[0].transaction, Some(TransactionId("733".into())));
}

#[tokio::test]
async fn a_project_that_is_moved_with_its_store_stores_nothing_twice() {
    let incident = Incident::new("[ingest]\nfiles = [\"events.ndjson\"]\n");
    incident.write("events.ndjson", (events(1..=2) + "damaged\n").as_bytes());
    let mut store = incident.store().await;
    read_new(&incident.project(), &mut store).await.expect("read");

    let moved = Incident::new("");
    copy_folder(incident.folder.path(), moved.folder.path());
    let mut store = moved.store().await;
    let summary = read_new(&moved.project(), &mut store).await.expect("read");
    assert_eq!(summary.appended(), Appended::default());
    assert_eq!(moved.keys().await, ["1", "2"]);
    assert_eq!(moved.rejected().await.len(), 1);
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).expect("created");
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_that_stores_nothing() {
    let incident = Incident::new("[ingest]\nfiles = [\"events/*.ndjson\"]\n");
    let sound = incident.write("sound.ndjson", event(1).as_bytes());

    let no_match = incident.ingest(&[]).await.expect_err("no file");
    assert!(no_match.to_string().contains("\"events/*.ndjson\""), "{no_match}");
    assert_eq!(no_match.location().map(|location| location.line), Some(2));

    let unknown = incident.write("letter.txt", b"Dear Sir or Madam,\n");
    let error = incident.ingest(&[sound.clone(), unknown.clone()]).await.expect_err("no known format");
    for format in format_names() {
        assert!(error.to_string().contains(format), "{error}");
    }
    let named = FormatChoice::named("events").expect("a format");
    let summary = ingest(&incident.project(), &[unknown], &named, false).await.expect("its lines are damaged");
    assert_eq!(summary.rejected(), 1);

    let missing = incident.ingest(&[sound.clone(), incident.path("missing.ndjson")]).await.expect_err("no file");
    assert!(missing.to_string().contains("missing.ndjson"), "{missing}");
    let folder = incident.ingest(&[sound, incident.folder.path().to_owned()]).await.expect_err("a folder");
    assert!(folder.to_string().contains("directory"), "{folder}");
    assert_eq!(incident.keys().await, [""; 0]);

    let nothing = Incident::new("").ingest(&[]).await.expect_err("nothing named");
    assert!(nothing.to_string().contains("[ingest] files"), "{nothing}");
    assert!(FormatChoice::named("csv").expect_err("no such format").to_string().contains("auto or one of"));
}

#[tokio::test]
async fn an_empty_file_is_no_mistake() {
    let incident = Incident::new("");
    let files = [incident.write("empty", b""), incident.write("blank", b"\n\r\n")];
    let summary = incident.ingest(&files).await.expect("ingested");
    assert_eq!(summary.appended(), Appended::default());
    assert_eq!(summary.inputs.iter().map(|input| input.read.lines).collect::<Vec<_>>(), [0, 2]);
}
