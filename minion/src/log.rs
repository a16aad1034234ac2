//! The log on standard error: text for people, `<N>` priorities for journald, or JSON lines.

use crate::config::LogFormat;
use std::fmt;
use std::io::IsTerminal;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::{Event, Level, Subscriber, field::Field, field::Visit};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format::Writer};
use tracing_subscriber::registry::LookupSpan;

/// Begins to log. Called once, first.
pub fn start(format: LogFormat, level: Level) {
    let style = match format {
        LogFormat::Json => Style::Json,
        LogFormat::Auto if std::env::var_os("JOURNAL_STREAM").is_some() => Style::Journal,
        _ => Style::Text,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start changes nothing.
    let _ = builder.event_format(Format { style }).try_init();
}

#[derive(Clone, Copy, Debug)]
enum Style {
    Text,
    Journal,
    Json,
}

#[derive(Clone, Copy, Debug)]
struct Format {
    style: Style,
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let target = meta.target().rsplit("::").next().unwrap_or_default();
        match self.style {
            Style::Json => return write_json(&mut writer, event, target),
            Style::Text => write!(writer, "{} {:5} {target}: ", clock(), meta.level())?,
            Style::Journal => write!(writer, "<{}>{target}: ", priority(*meta.level()))?,
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn write_json(writer: &mut Writer<'_>, event: &Event<'_>, target: &str) -> fmt::Result {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut object = serde_json::Map::new();
    object.insert("ts".to_owned(), serde_json::json!(now().as_secs_f64()));
    object.insert("level".to_owned(), event.metadata().level().as_str().to_lowercase().into());
    object.insert("target".to_owned(), target.into());
    object.append(&mut fields.0);
    writeln!(writer, "{}", serde_json::Value::Object(object))
}

#[derive(Default)]
struct Fields(serde_json::Map<String, serde_json::Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: serde_json::Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Time of day, UTC.
fn clock() -> String {
    let seconds = now().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
