//! Two Rust clients against a broker: `ringlog-wire HOST:PORT`. Prints `ok NAME` or `FAILED NAME` per check; exits with
//! 1 if one failed. No consumer groups: partitions are assigned by hand.

mod data;
mod librdkafka;
mod report;
mod rskafka_client;

fn main() -> std::process::ExitCode {
    let Some(bootstrap) = std::env::args().nth(1) else {
        eprintln!("usage: ringlog-wire HOST:PORT");
        return std::process::ExitCode::from(2);
    };
    let mut report = report::Report::default();
    librdkafka::run(&bootstrap, &mut report);
    rskafka_client::run(&bootstrap, &mut report);
    report.exit_code()
}
