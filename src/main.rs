//! The binary `wanshift`.

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use wanshift::cli::{self, Output};
use wanshift::kernel::{Host, Kernel};

/// What an administrator sees beside a verb's own words, where `WANSHIFT_LOG` does not say otherwise: what
/// was odd and went well all the same.
const LOG: &str = "warn";

fn main() -> ExitCode {
    // A daemon says what it does, too.
    let told = if std::env::args_os().any(|word| word == "run") {
        "info"
    } else {
        LOG
    };
    let filter = EnvFilter::try_from_env("WANSHIFT_LOG").unwrap_or_else(|_| EnvFilter::new(told));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    let colour = if stderr().is_terminal() && !plain {
        Colour::Terminal
    } else {
        Colour::None
    };
    // Where that fails there is a subscriber already, which is as good.
    let _ = tracing::subscriber::set_global_default(log(stderr, filter, colour));

    let (mut out, mut err) = (stdout(), stderr());
    let mut open = || Host::open().map(|host| Box::new(host) as Box<dyn Kernel>);
    ExitCode::from(cli::run(
        std::env::args_os(),
        &mut open,
        &mut Output::new(&mut out, &mut err),
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    Terminal,
    None,
}

/// A line for each event: how grave, what, and the figures; where in the program it was is for nobody.
fn log<W>(writer: W, filter: EnvFilter, colour: Colour) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(colour == Colour::Terminal)
        .with_target(false)
        .without_time()
        .with_env_filter(filter)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn warnings_are_plain_lines() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let log = log(move || writer.clone(), EnvFilter::new(LOG), Colour::None);
        tracing::subscriber::with_default(log, || {
            tracing::warn!(target: "wanshift::kernel::tc", port = 7, "odd");
            tracing::info!(target: "wanshift::kernel::tc", "as always");
            tracing::debug!(target: "wanshift::executor", "a write failed");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, " WARN odd port=7\n");
    }
}
