//! The operator's side of a control socket: asks, and prints the answer. It uses plain blocking I/O.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use shared::feed::VerifyStatus;

use super::table::table;
use super::{NodeRequest, Request, Response};

/// What `forget` means, said before it is done.
const FORGET_WARNING: &str = "\
A member that is forgotten is not waited for any more, and its name is free.
Writes that it took and that reached nobody else are lost, unless it comes back: then it
joins anew, and writes them again. Forget only a member that will not come back soon.
This cannot be taken back.";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot reach an agent at the control socket {0}: {1}; it must run with --control and this path")]
    Connect(String, io::Error),
    #[error("the agent went away: {0}")]
    Lost(#[from] io::Error),
    #[error("the agent's answer is not understood: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("{0}")]
    Refused(String),
    #[error("nothing was done: say --yes, or type the member's name when asked")]
    Unconfirmed,
}

/// What came of comparing with all peers that were asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    keys_differ: u64,
    is_incomplete: bool,
}

/// Asks, and prints the answer: as tables, or the lines of JSON as they are.
pub(crate) fn ask(control: &Path, request: impl Into<Request>, is_json: bool) -> Result<(), ClientError> {
    let mut out = io::stdout().lock();
    converse(control, &request.into(), |line, response| print(&mut out, line, response, is_json))
}

/// Warns of what it means that a member is forgotten, and makes sure that it is meant.
pub(crate) fn confirm_forget(name: &str, is_confirmed: bool) -> Result<(), ClientError> {
    eprintln!("{FORGET_WARNING}");
    if is_confirmed {
        return Ok(());
    }
    if io::stdin().is_terminal() {
        eprint!("Type the member's name to forget it: ");
        io::stderr().flush()?;
        let mut typed = String::new();
        io::stdin().read_line(&mut typed)?;
        if typed.trim() == name {
            return Ok(());
        }
    }
    Err(ClientError::Unconfirmed)
}

/// Compares, and prints what differs. The exit code is 0 if nothing does, 1 if something does, 2 if it could not be done.
pub(crate) fn verify(control: &Path, request: NodeRequest, is_json: bool) -> ExitCode {
    compare(control, request, is_json).map_or_else(|error| failed(&error), |findings| findings.exit_code())
}

/// Makes good what differs. The exit code is 0 if that is done, and 2 if it could not be.
pub(crate) fn repair(control: &Path, request: NodeRequest, is_json: bool) -> ExitCode {
    let repaired = compare(control, request, is_json).map(|findings| Findings { keys_differ: 0, ..findings });
    repaired.map_or_else(|error| failed(&error), |findings| findings.exit_code())
}

fn failed(error: &ClientError) -> ExitCode {
    eprintln!("tandem-agent: {error}");
    ExitCode::from(2)
}

fn compare(control: &Path, request: NodeRequest, is_json: bool) -> Result<Findings, ClientError> {
    let (mut out, mut findings) = (io::stdout().lock(), Findings::default());
    converse(control, &request.into(), |line, response| {
        if let Response::Compared { status, .. } = response {
            findings.add(status);
        }
        print(&mut out, line, response, is_json)
    })?;
    Ok(findings)
}

impl Findings {
    fn add(&mut self, status: &VerifyStatus) {
        self.keys_differ += status.keys_differ;
        self.is_incomplete |= !status.error.is_empty();
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.is_incomplete { 2 } else { u8::from(self.keys_differ > 0) })
    }
}

fn converse(
    control: &Path,
    request: &Request,
    mut on_response: impl FnMut(&str, &Response) -> io::Result<()>,
) -> Result<(), ClientError> {
    let connected = UnixStream::connect(control);
    let mut stream = connected.map_err(|error| ClientError::Connect(control.display().to_string(), error))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut is_answered = false;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let response: Response = serde_json::from_str(&line)?;
        if let Response::Error { error } = response {
            return Err(ClientError::Refused(error));
        }
        is_answered |= !matches!(response, Response::Progress { .. });
        on_response(&line, &response)?;
    }
    if is_answered { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) }
}

fn print(out: &mut impl Write, line: &str, response: &Response, is_json: bool) -> io::Result<()> {
    if is_json {
        return writeln!(out, "{line}");
    }
    match response {
        Response::Result { result } => write!(out, "{}", table(result))?,
        Response::Progress { peer, status } => {
            eprintln!("{peer}: {} keys compared, {} differ so far", status.keys_compared, status.keys_differ);
        }
        Response::Compared { peer, status } => print_status(out, peer, status)?,
        Response::Error { .. } => {}
    }
    out.flush()
}

fn print_status(out: &mut impl Write, peer: &str, status: &VerifyStatus) -> io::Result<()> {
    write!(out, "{peer}: {} keys compared, {} differ", status.keys_compared, status.keys_differ)?;
    if status.keys_repaired > 0 {
        write!(out, ", {} repaired", status.keys_repaired)?;
    }
    match status.error.as_str() {
        "" => writeln!(out)?,
        error => writeln!(out, ", not done: {error}")?,
    }
    for key in &status.keys {
        writeln!(out, "  db {} {:?}", key.db, key.key)?;
    }
    let unnamed = status.keys_differ.saturating_sub(status.keys.len() as u64);
    if unnamed > 0 {
        writeln!(out, "  and {unnamed} more")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use shared::feed::{DifferingKey, VerifyState};

    use super::*;

    fn status(keys_differ: u64, error: &str) -> VerifyStatus {
        VerifyStatus {
            state: VerifyState::Done,
            error: error.into(),
            keys_compared: 10,
            keys_differ,
            keys_repaired: 0,
            keys: vec![DifferingKey { db: 3, key: "a key".into() }],
        }
    }

    #[test]
    fn the_exit_code_tells_differences_from_failures() {
        let code = |statuses: &[VerifyStatus]| {
            let mut findings = Findings::default();
            statuses.iter().for_each(|status| findings.add(status));
            format!("{:?}", findings.exit_code())
        };
        let plain = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(&[status(0, "")]), plain(0));
        assert_eq!(code(&[status(0, ""), status(2, "")]), plain(1));
        assert_eq!(code(&[status(2, ""), status(0, "the link was lost")]), plain(2));
    }

    #[test]
    fn differing_keys_are_named() {
        let mut out = Vec::new();
        print_status(&mut out, "b", &status(3, "")).unwrap();
        let expected = "b: 10 keys compared, 3 differ\n  db 3 \"a key\"\n  and 2 more\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
