//! A way to the server that can be cut, and that can lose what goes over it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

use super::super::connection;

/// A simple query as it goes over the wire: type, length, text.
const COMMIT: &[u8] = b"Q\0\0\0\x0bcommit\0";

/// What a transaction that stores a flush has before its commit.
const STORES: &[u8] = b"insert into checkpoint";

/// What becomes of the next commit of a flush.
#[derive(Clone, Copy)]
enum Fate {
    Answered,
    /// It gets to the server after so long, its answer nowhere.
    Unanswered(Duration),
    Lost,
}

struct State {
    fate: Mutex<Fate>,
    is_cut: AtomicBool,
    cut: Mutex<CancellationToken>,
    connections: AtomicUsize,
}

/// The way, and a pool of connections that take it.
pub struct Link {
    pub pool: PgPool,
    state: Arc<State>,
}

impl Link {
    /// To the server of this pool, which is reached over a Unix socket.
    pub async fn to(pool: &PgPool) -> Self {
        let options = pool.connect_options();
        let folder = options.get_socket().expect("a Unix socket").clone();
        let server = folder.join(format!(".s.PGSQL.{}", options.get_port()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            fate: Mutex::new(Fate::Answered),
            is_cut: AtomicBool::new(false),
            cut: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        tokio::spawn(serve(listener, server, Arc::clone(&state)));
        let database = options.get_database().expect("a database");
        let url =
            format!("postgres://{}@127.0.0.1:{port}/{database}?sslmode=disable", options.get_username());
        Self { pool: connection::pool(connection::options(&url).expect("a URL"), 4), state }
    }

    pub fn lose_the_answer_to_a_commit(&self, late: Duration) {
        *self.state.fate.lock().unwrap_or_else(PoisonError::into_inner) = Fate::Unanswered(late);
    }

    pub fn lose_the_next_commit(&self) {
        *self.state.fate.lock().unwrap_or_else(PoisonError::into_inner) = Fate::Lost;
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Ends all connections, and refuses further ones.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::Relaxed);
        self.state.cut.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    pub fn mend(&self) {
        *self.state.cut.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        self.state.is_cut.store(false, Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, server: PathBuf, state: Arc<State>) {
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        if state.is_cut.load(Ordering::Relaxed) {
            continue;
        }
        state.connections.fetch_add(1, Ordering::Relaxed);
        let server = UnixStream::connect(&server).await.expect("the server");
        let cut = state.cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            tokio::select! {
                () = carry(client, server, &state) => {}
                () = cut.cancelled() => {}
            }
        });
    }
}

/// Carries octets both ways until one side ends or a commit is lost.
async fn carry(mut client: TcpStream, mut server: UnixStream, state: &State) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut stores = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(1..) = read else { return };
                let asked = &asked[..read.unwrap_or(0)];
                stores |= asked.windows(STORES.len()).any(|part| part == STORES);
                let fate = if stores && asked == COMMIT {
                    stores = false;
                    std::mem::replace(&mut *state.fate.lock().unwrap_or_else(PoisonError::into_inner), Fate::Answered)
                } else {
                    Fate::Answered
                };
                match fate {
                    Fate::Answered => {}
                    Fate::Unanswered(late) => {
                        drop(client);
                        tokio::time::sleep(late).await;
                        // The server's answer is waited for and thrown away.
                        if server.write_all(asked).await.is_ok() {
                            let _answer = server.read(&mut answered).await;
                        }
                        return;
                    }
                    Fate::Lost => return,
                }
                if server.write_all(asked).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(1..) = read else { return };
                if client.write_all(&answered[..read.unwrap_or(0)]).await.is_err() {
                    return;
                }
            }
        }
    }
}
