//! A small TCP proxy between bleen and a server: it can fall silent, cut every connection, and swallow the answer to
//! exactly one statement.
//!
//! It reads the statements on their way (`COM_QUERY`, no TLS) and knows nothing else of the protocol.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that stops says where")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// What the network between bleen and this server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Everything passes.
    Up,
    /// Nothing passes in either direction and nothing is closed; new connections are accepted and silent.
    Silent,
    /// Every connection is closed on both ends, and new ones at once.
    Cut,
}

/// What happens when a statement's answer is swallowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The connection is closed on both ends, after the server has answered.
    Cut,
    /// The connection stays open and silent.
    Hang,
}

struct Rule {
    part: String,
    then: Then,
}

struct Shared {
    server: watch::Sender<u16>,
    network: watch::Sender<Network>,
    rule: Mutex<Option<Rule>>,
    swallowed: watch::Sender<bool>,
    /// Open connections by the server's port.
    open: watch::Sender<BTreeMap<u16, usize>>,
}

/// Counts a connection as open for as long as it lives.
struct Open<'a>(&'a Shared, u16);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared, port: u16) -> Self {
        shared
            .open
            .send_modify(|open| *open.entry(port).or_default() += 1);
        Self(shared, port)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0
            .open
            .send_modify(|open| *open.entry(self.1).or_default() -= 1);
    }
}

/// A proxy in front of one server. Dropping it closes everything.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
    _all: tokio_util::sync::DropGuard,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server: watch::channel(server).0,
            network: watch::channel(Network::Up).0,
            rule: Mutex::new(None),
            swallowed: watch::channel(false).0,
            open: watch::channel(BTreeMap::new()).0,
        });
        let all = CancellationToken::new();
        let (serving, over) = (Arc::clone(&shared), all.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (shared, over) = (Arc::clone(&serving), over.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = over.cancelled() => {}
                        () = connection(&shared, client) => {}
                    }
                });
            }
        });
        Self {
            port,
            shared,
            _task: AbortOnDropHandle::new(task),
            _all: all.drop_guard(),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// New connections come out at another server, as after a change of a DNS name; open ones stay where they are.
    pub fn point_at(&self, server: u16) {
        self.shared.server.send_if_modified(|port| {
            *port = server;
            false
        });
    }

    /// New connections go to another server, as when a virtual address has moved; those that are open are closed.
    pub fn lead_to(&self, server: u16) {
        self.shared.server.send_replace(server);
    }

    /// As [`Proxy::lead_to`], and waits until those that were open are closed: nothing more of them reaches the server.
    pub async fn has_led_to(&self, server: u16) {
        self.lead_to(server);
        let elsewhere = |open: &BTreeMap<u16, usize>| open.iter().all(|(port, n)| *port == server || *n == 0);
        self.shared.open.subscribe().wait_for(elsewhere).await.unwrap();
    }

    pub fn set(&self, network: Network) {
        self.shared.network.send_replace(network);
    }

    /// The next statement that contains `part` reaches the server, and its answer does not come back.
    pub fn swallow(&self, part: &str, then: Then) {
        self.shared.swallowed.send_replace(false);
        *self.shared.rule.lock().unwrap() = Some(Rule {
            part: part.to_owned(),
            then,
        });
    }

    /// Whether the answer was swallowed: a case in which it was not has tried nothing.
    pub fn has_swallowed(&self) -> bool {
        *self.shared.swallowed.borrow()
    }
}

/// What one connection is told by its statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swallow {
    No,
    Next(Then),
}

async fn connection(shared: &Shared, client: TcpStream) {
    let mut network = shared.network.subscribe();
    if *network.borrow() == Network::Cut {
        return;
    }
    // A connection that is opened while nothing passes gets its server once something does.
    let Ok(Network::Up) = passable(&mut network).await else {
        return;
    };
    let mut moved = shared.server.subscribe();
    let port = *moved.borrow_and_update();
    let _open = Open::new(shared, port);
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (tell, told) = watch::channel(Swallow::No);
    let cut = async {
        // Ends when the sender is gone, which outlives this, or at a cut.
        let _ = shared.network.subscribe().wait_for(|n| *n == Network::Cut).await;
    };
    tokio::select! {
        () = cut => {}
        _ = moved.changed() => {}
        () = statements(shared, from_client, to_server, tell) => {}
        () = answers(shared, from_server, to_client, told) => {}
    }
}

/// Waits out a silence; what the network is then.
async fn passable(network: &mut watch::Receiver<Network>) -> Result<Network, ()> {
    network
        .wait_for(|n| *n != Network::Silent)
        .await
        .map(|n| *n)
        .map_err(drop)
}

async fn statements(
    shared: &Shared,
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    tell: watch::Sender<Swallow>,
) {
    let mut network = shared.network.subscribe();
    loop {
        let mut packet = vec![0; 4];
        if client.read_exact(&mut packet).await.is_err() {
            return;
        }
        let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]);
        packet.resize(4 + length as usize, 0);
        if client.read_exact(&mut packet[4..]).await.is_err() {
            return;
        }
        // A command begins a new numbering; the third one is COM_QUERY.
        if packet[3] == 0 && packet.get(4) == Some(&3) {
            let text = String::from_utf8_lossy(&packet[5..]);
            let rule = shared.rule.lock().unwrap().take_if(|r| text.contains(&r.part));
            if let Some(rule) = rule {
                tell.send_replace(Swallow::Next(rule.then));
            }
        }
        if passable(&mut network).await != Ok(Network::Up) || server.write_all(&packet).await.is_err() {
            return;
        }
    }
}

async fn answers(
    shared: &Shared,
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    told: watch::Receiver<Swallow>,
) {
    let mut network = shared.network.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read @ 1..) = server.read(&mut buffer).await else {
            return;
        };
        // One statement is under way at a time, so what comes after it was sent is its answer.
        let swallow = *told.borrow();
        if let Swallow::Next(then) = swallow {
            shared.swallowed.send_replace(true);
            match then {
                Then::Cut => return,
                Then::Hang => std::future::pending::<()>().await,
            }
        }
        if passable(&mut network).await != Ok(Network::Up) || client.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}
