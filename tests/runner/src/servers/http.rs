//! Just enough of an HTTP client.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::Peer;
use crate::schedule::Failure;

/// No answer is longer.
const ANSWER_MAX: usize = 64 << 20;

/// An answer of a server.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// As they came, in one text.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    /// What came and belongs to later answers.
    rest: Vec<u8>,
}

impl Client {
    pub(super) fn connect(peer: &Peer, port: u16) -> Result<Self, Failure> {
        Ok(Self { stream: peer.connect(port)?, rest: Vec::new() })
    }

    /// Asks; `headers` are further lines, each with its end.
    pub(super) fn send(&mut self, method: &str, path: &str, headers: &str) -> Result<(), Failure> {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).map_err(|error| format!("{method} {path}: {error}"))
    }

    /// The next answer; that to HEAD has no body.
    pub(super) fn receive(&mut self, has_body: bool) -> Result<Answer, Failure> {
        let head_end = loop {
            if let Some(end) = self.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.rest[..head_end]).into_owned();
        self.rest.drain(..head_end);
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut answer = Answer { status: status.ok_or_else(|| format!("no status: {head}"))?, head, body: Vec::new() };
        if !has_body {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            answer.body = self.receive_chunks()?;
        } else {
            let length = answer.header("content-length").and_then(|text| text.parse().ok());
            answer.body = self.take(length.ok_or_else(|| format!("no length: {}", answer.head))?)?;
        }
        Ok(answer)
    }

    /// One request and its answer.
    pub(super) fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.send("GET", path, "")?;
        self.receive(true)
    }

    /// Sends a body, while the answer to it is received.
    pub(super) fn post(&mut self, path: &str, body: &[u8]) -> Result<Answer, Failure> {
        self.send("POST", path, &format!("Content-Length: {}\r\n", body.len()))?;
        let mut writer = self.stream.try_clone().map_err(|error| error.to_string())?;
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || writer.write_all(body));
            let answer = self.receive(true);
            let sent = sender.join().unwrap_or(Ok(())).map_err(|error| format!("POST {path}: {error}"));
            sent.and(answer)
        })
    }

    fn receive_chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = self.rest.windows(2).position(|bytes| bytes == b"\r\n") {
                    break end;
                }
                self.fill()?;
            };
            let line = String::from_utf8_lossy(&self.rest[..end]).into_owned();
            self.rest.drain(..end + 2);
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| format!("not a chunk's size: {line}"))?;
            body.extend(self.take(size)?);
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        if count > ANSWER_MAX {
            return Err(format!("an answer of {count} bytes"));
        }
        while self.rest.len() < count {
            self.fill()?;
        }
        let rest = self.rest.split_off(count);
        Ok(std::mem::replace(&mut self.rest, rest))
    }

    fn fill(&mut self) -> Result<(), Failure> {
        let mut part = vec![0; 64 << 10];
        let count = self.stream.read(&mut part).map_err(|error| format!("answer: {error}"))?;
        if count == 0 {
            return Err(format!("the server left after {} bytes", self.rest.len()));
        }
        self.rest.extend_from_slice(&part[..count]);
        Ok(())
    }
}
