//! The log on standard error: for people on a terminal, with priorities and without time under systemd.

use master::config::Level;
use std::fmt;
use tracing::{Event, Level as Severity, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts it, once.
pub(crate) fn start(level: Level) {
    let ours = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let others = ours.min(LevelFilter::WARN);
    let targets = ["master", "bus", "lang"].map(|it| (it, ours));
    let filter = Targets::new().with_default(others).with_targets(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        registry.with(layer.with_ansi(false).event_format(Journal)).init();
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        registry.with(layer.with_ansi(terminal).with_target(false).compact()).init();
    }
}

/// `<4>gate: message fields`, as sd-daemon(3) has it.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
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
        let priority = match *meta.level() {
            Severity::ERROR => 3,
            Severity::WARN => 4,
            Severity::INFO => 6,
            _ => 7,
        };
        let part = meta.target().split("::").nth(1).unwrap_or(meta.target());
        write!(writer, "<{priority}>{part}: ")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
