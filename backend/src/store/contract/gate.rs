//! A gate in front of an HTTP server that can be shut, also in the middle of a series of inserts: what a backend that is
//! killed, or a server that goes away, leaves behind is then on the real server.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is done with the insert at which the gate shuts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Last {
    /// The server never sees it.
    Request,
    /// The server does it, and nobody hears.
    Answer,
}

/// A gate.
#[derive(Clone)]
pub struct Gate {
    url: String,
    /// Inserts that still pass; none is counted where it is negative.
    left: Arc<AtomicI64>,
    last: Arc<RwLock<Last>>,
}

impl Gate {
    /// In front of the server of this URL, open.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let rest = url.strip_prefix("http://").expect("a URL");
        let (server, database) = rest.split_once('/').expect("a database");
        let gate = Self {
            url: format!("http://{}/{database}", listener.local_addr().expect("an address")),
            left: Arc::new(AtomicI64::new(-1)),
            last: Arc::new(RwLock::new(Last::Request)),
        };
        let (server, of_task) = (server.to_owned(), gate.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (gate, server) = (of_task.clone(), server.clone());
                tokio::spawn(async move { gate.pass(client, &server).await });
            }
        });
        gate
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets everything pass.
    pub fn open(&self) {
        self.left.store(-1, Ordering::Release);
    }

    /// Lets nothing pass.
    pub fn shut(&self) {
        self.left.store(0, Ordering::Release);
    }

    /// Shuts at the insert after so many.
    pub fn shut_after(&self, inserts: i64, last: Last) {
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = last;
        self.left.store(inserts + 1, Ordering::Release);
    }

    /// One question, and its answer if it is let pass.
    async fn pass(&self, mut client: TcpStream, server: &str) {
        let Some(question) = read_question(&mut client).await else { return };
        let is_insert = question.windows(7).take(400).any(|w| w == b"=insert");
        let left = self.left.load(Ordering::Acquire);
        if left > 0 && is_insert {
            self.left.fetch_sub(1, Ordering::AcqRel);
        }
        let shuts = left == 1 && is_insert;
        let last = *self.last.read().unwrap_or_else(PoisonError::into_inner);
        if left == 0 || shuts && last == Last::Request {
            return;
        }
        let mut upstream = TcpStream::connect(server).await.expect("the server");
        upstream.write_all(&question).await.expect("asked");
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await.expect("answered");
        if !shuts {
            let _gone = client.write_all(&answer).await;
        }
    }
}

/// A question with its body, which asks for the connection to end with the answer.
async fn read_question(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut question = Vec::new();
    loop {
        let head = question.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&question[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
            if question.len() >= head + 4 + length {
                question.splice(head..head, *b"\r\nconnection: close");
                return Some(question);
            }
        }
        if client.read_buf(&mut question).await.ok()? == 0 {
            return None;
        }
    }
}
