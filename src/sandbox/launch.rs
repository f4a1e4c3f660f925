//! Starts a server in a directory of its own on loopback, and holds it: kill, freeze, stop, restart, and gone when
//! dropped.
//!
//! Every wait is bounded, and every failure carries the last lines of the server's error log. What the server is used
//! for is none of this file's business.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use rustix::process::Signal;

use super::cache::{Cache, remove_tree};
use super::catalog::Release;
use super::datadir;
use super::error::{SandboxError, last_lines};
use super::locate::{Installed, blocking};
use super::option_file::{self, Places, ReadOnly, ServerOptions, has_super_read_only};
use super::process::{Process, words_before};
use super::sweep::SandboxDir;

/// Longest time from start to the first answer. A second or so is usual; a crash recovery on a busy machine takes
/// more.
const READY: Duration = Duration::from_secs(90);
/// Longest orderly shutdown.
const SHUTDOWN: Duration = Duration::from_secs(60);
/// Longest single attempt to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Between two looks at a server that starts or stops.
const LOOK: Duration = Duration::from_millis(10);
/// Starts with another port each before giving up.
const PORTS: u32 = 5;
/// A socket's path must fit into the kernel's `sun_path`.
const SOCKET_PATH: usize = 107;

/// A running server of the sandbox. Dropping it kills the process and removes its directory.
#[derive(Debug)]
pub struct RunningServer {
    installed: Installed,
    options: ServerOptions,
    name: String,
    home: PathBuf,
    port: u16,
    process: Mutex<Option<Process>>,
    // Last, so that the directory is there until the process has ended.
    dir: Arc<SandboxDir>,
}

impl Installed {
    /// Starts a server of this installation in a sandbox directory of its own below `parent` (`None`: the temporary
    /// directory).
    ///
    /// # Errors
    /// [`SandboxError::Start`] with the server's error log when it ends or does not answer in time.
    pub async fn start(
        &self,
        cache: &Cache,
        parent: Option<&Path>,
        options: &ServerOptions,
    ) -> Result<RunningServer, SandboxError> {
        let (own_cache, parent) = (cache.clone(), parent.map(Path::to_path_buf));
        let dir = blocking(move || SandboxDir::create(&own_cache, parent.as_deref())).await?;
        self.start_in(Arc::new(dir), "server", cache, options).await
    }

    /// Starts a server in an existing sandbox directory, in a subdirectory called `name`.
    ///
    /// # Errors
    /// As [`Installed::start`].
    pub async fn start_in(
        &self,
        dir: Arc<SandboxDir>,
        name: &str,
        cache: &Cache,
        options: &ServerOptions,
    ) -> Result<RunningServer, SandboxError> {
        let home = dir.path().join(name);
        let (installed, own_cache, own_home) = (self.clone(), cache.clone(), home.clone());
        blocking(move || {
            let template = datadir::template(&installed, &own_cache)?;
            std::fs::create_dir_all(&own_home)
                .map_err(SandboxError::io(format!("creating {}", own_home.display())))?;
            datadir::copy_data(&template, &own_home.join("data"))
        })
        .await?;
        let mut server = RunningServer {
            installed: self.clone(),
            options: options.clone(),
            name: name.to_owned(),
            home,
            port: 0,
            process: Mutex::new(None),
            dir,
        };
        if server.socket().as_os_str().len() > SOCKET_PATH {
            let why = format!(
                "the path of its socket {} is too long for a socket",
                server.socket().display()
            );
            return Err(server.start_failed(why));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            server.port = free_port()?;
            server.write_options()?;
            match server.launch().await {
                Ok(()) => break,
                // Between looking at a port and using it, somebody else took it.
                Err(e) if tries < PORTS && server.log_says_port_taken() => drop(e),
                Err(e) => return Err(e),
            }
        }
        if options.read_only == ReadOnly::Set {
            server.set_read_only(true).await?;
        }
        Ok(server)
    }
}

impl RunningServer {
    /// What it was started as (`blue`, `green`, `server`).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The installation it runs from.
    pub fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Its version.
    pub fn version(&self) -> Release {
        self.installed.version
    }

    /// The TCP port on 127.0.0.1. The same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.home.join("sock")
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The error log.
    pub fn error_log(&self) -> PathBuf {
        self.home.join("error.log")
    }

    /// The option file. Lines appended to it count from the next start.
    pub fn option_file(&self) -> PathBuf {
        self.home.join("my.cnf")
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.lock()
            .as_mut()
            .and_then(|p| p.ended().is_none().then(|| p.pid()))
    }

    /// Kills it (`SIGKILL`) and waits until it is gone: a crash of the server, its directory stays.
    ///
    /// # Errors
    /// [`SandboxError::Stop`] when the process will not go.
    pub fn kill(&self) -> Result<(), SandboxError> {
        self.lock().as_mut().map_or(Ok(()), Process::kill)
    }

    /// Stops its process without ending it (`SIGSTOP`): connections stay open and nothing answers. Every thread has
    /// stopped when this returns.
    ///
    /// # Errors
    /// [`SandboxError::Io`] when the signal cannot be sent, [`SandboxError::TooSlow`] when a thread goes on.
    pub fn freeze(&self) -> Result<(), SandboxError> {
        self.signal(Signal::STOP)?;
        self.lock().as_mut().map_or(Ok(()), Process::wait_stopped)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// [`SandboxError::Io`] when the signal cannot be sent.
    pub fn thaw(&self) -> Result<(), SandboxError> {
        self.signal(Signal::CONT)
    }

    /// Shuts it down in order and waits for it. One that is not running is no error.
    ///
    /// # Errors
    /// [`SandboxError::Stop`] when it takes too long; it then still runs.
    pub async fn stop(&self) -> Result<(), SandboxError> {
        self.thaw()?;
        self.signal(Signal::TERM)?;
        let started = Instant::now();
        loop {
            let pid = self.pid();
            let Some(pid) = pid else {
                *self.lock() = None;
                return Ok(());
            };
            if started.elapsed() > SHUTDOWN {
                return Err(SandboxError::Stop {
                    server: self.describe(),
                    pid,
                    limit: SHUTDOWN,
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop): same data directory, same port, same option
    /// file, so what was set with `SET PERSIST` holds.
    ///
    /// # Errors
    /// [`SandboxError::Start`] with the server's error log.
    pub async fn start_again(&self) -> Result<(), SandboxError> {
        self.launch().await
    }

    /// An orderly restart.
    ///
    /// # Errors
    /// Those of [`stop`](Self::stop) and [`start_again`](Self::start_again).
    pub async fn restart(&self) -> Result<(), SandboxError> {
        self.stop().await?;
        self.launch().await
    }

    /// How root connects: by socket, no password.
    pub fn root_opts(&self) -> Opts {
        let socket = self.socket().to_string_lossy().into_owned();
        OptsBuilder::default()
            .socket(Some(socket))
            .user(Some("root"))
            .stmt_cache_size(0)
            .into()
    }

    /// Connects as root.
    ///
    /// # Errors
    /// [`SandboxError::Sql`], or [`SandboxError::TooSlow`] when nothing answers (a frozen server accepts and is
    /// silent).
    pub async fn root(&self) -> Result<Conn, SandboxError> {
        self.bounded("connecting", CONNECT, Conn::new(self.root_opts()))
            .await
    }

    /// Runs statements as root, one after the other, on one connection.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] names the statement's first word only: a statement may hold a password.
    pub async fn run(&self, statements: &[impl AsRef<str>]) -> Result<(), SandboxError> {
        let mut conn = self.root().await?;
        for statement in statements {
            let statement = statement.as_ref();
            let first = statement.split_whitespace().next().unwrap_or_default();
            self.bounded(first, READY, conn.query_drop(statement)).await?;
        }
        drop(conn.disconnect().await);
        Ok(())
    }

    /// Reads the first column of the first row as root, as text; `None` when there is no row or the value is NULL.
    ///
    /// # Errors
    /// [`SandboxError::Sql`] or [`SandboxError::TooSlow`].
    pub async fn value(&self, query: &str) -> Result<Option<String>, SandboxError> {
        let mut conn = self.root().await?;
        let row: Option<Row> = self.bounded("a query", READY, conn.query_first(query)).await?;
        drop(conn.disconnect().await);
        // A text-protocol answer holds bytes or NULL.
        Ok(row.and_then(|r| match r.as_ref(0) {
            Some(Value::Bytes(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }))
    }

    /// Makes it read-only or writable in memory, `super_read_only` included where there is one.
    ///
    /// # Errors
    /// [`SandboxError::Sql`].
    pub async fn set_read_only(&self, on: bool) -> Result<(), SandboxError> {
        let value = u8::from(on);
        let variable = if has_super_read_only(self.installed.family, self.installed.version) && on {
            // On sets both; off for both is what `read_only` does.
            "super_read_only"
        } else {
            "read_only"
        };
        self.run(&[format!("SET GLOBAL {variable} = {value}")]).await
    }

    /// Name, family, version and port, for messages.
    pub fn describe(&self) -> String {
        format!(
            "{} ({} on 127.0.0.1:{})",
            self.name, self.installed.version_text, self.port
        )
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) -> Result<(), SandboxError> {
        self.lock().as_mut().map_or(Ok(()), |p| p.signal(signal))
    }

    async fn bounded<T>(
        &self,
        what: &str,
        limit: Duration,
        work: impl Future<Output = Result<T, mysql_async::Error>>,
    ) -> Result<T, SandboxError> {
        let what = format!("{what} on {}", self.describe());
        match tokio::time::timeout(limit, work).await {
            Err(_) => Err(SandboxError::TooSlow { what, limit }),
            Ok(result) => result.map_err(SandboxError::sql(what)),
        }
    }

    fn write_options(&self) -> Result<(), SandboxError> {
        let (data, socket, log) = (self.data_dir(), self.socket(), self.error_log());
        let places = Places {
            home: &self.home,
            data: &data,
            socket: &socket,
            log: &log,
        };
        let i = &self.installed;
        let text = option_file::serving(&i.layout, i.family, i.version, &places, self.port, &self.options);
        let path = self.option_file();
        std::fs::write(&path, text).map_err(SandboxError::io(format!("writing {}", path.display())))
    }

    /// Starts the process and waits for its first answer.
    async fn launch(&self) -> Result<(), SandboxError> {
        let argument = format!("--defaults-file={}", self.option_file().display());
        let mut command = self.installed.layout.command(&words_before());
        command.arg(&argument).current_dir(&self.home);
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        // What a server says before its error log is open: the reason why it ends at once.
        let early = self.home.join("early.log");
        let open = || std::fs::File::create(&early).and_then(|f| Ok((f.try_clone()?, f)));
        let (out, err) = open().map_err(SandboxError::io(format!("creating {}", early.display())))?;
        command.stdout(out).stderr(err);
        {
            let mut process = self.lock();
            if process.as_mut().is_some_and(|p| p.ended().is_none()) {
                drop(process);
                return Err(self.start_failed("it is already running".into()));
            }
            *process = Some(Process::start(command, |id| self.dir.record(id, &argument))?);
        }
        let started = Instant::now();
        loop {
            if self.pid().is_none() {
                let status = self.lock().take().and_then(|mut p| p.ended());
                let how = status.map_or_else(|| "ended".to_owned(), |s| format!("ended with {s}"));
                return Err(self.start_failed(how));
            }
            if self.socket().exists() && self.answers().await {
                return Ok(());
            }
            if started.elapsed() > READY {
                let why = format!("no answer within {}", humantime::format_duration(READY));
                drop(self.kill());
                return Err(self.start_failed(why));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether it answers a query. The socket is in our own directory, so nobody else can answer there.
    async fn answers(&self) -> bool {
        let ask = async {
            let mut conn = Conn::new(self.root_opts()).await?;
            let one: Option<u8> = conn.query_first("SELECT 1").await?;
            conn.disconnect().await?;
            Ok::<_, mysql_async::Error>(one == Some(1))
        };
        tokio::time::timeout(CONNECT, ask)
            .await
            .is_ok_and(|r| r.unwrap_or(false))
    }

    fn log_text(&self) -> String {
        let read = |p: &Path| String::from_utf8_lossy(&std::fs::read(p).unwrap_or_default()).into_owned();
        format!(
            "{}\n{}",
            read(&self.home.join("early.log")),
            read(&self.error_log())
        )
    }

    fn log_says_port_taken(&self) -> bool {
        let text = last_lines(&self.log_text(), 20);
        text.contains("Address already in use") || text.contains("Bind on TCP/IP port")
    }

    fn start_failed(&self, why: String) -> SandboxError {
        SandboxError::Start {
            server: self.describe(),
            why,
            log: last_lines(&self.log_text(), 15),
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // First the process, then its directory: a server without its directory writes errors without end.
        if self.kill().is_ok() {
            drop(remove_tree(&self.home));
        }
    }
}

/// A port on loopback that nobody listens on now, outside the range from which the kernel gives clients theirs: a
/// stopped server must find its port free when it starts again.
fn free_port() -> Result<u16, SandboxError> {
    use std::hash::{BuildHasher, Hasher};
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let below = range
        .split_whitespace()
        .next()
        .and_then(|w| w.parse::<u16>().ok())
        .unwrap_or(32768);
    let (low, high) = if below > 20_000 {
        (10_000, below)
    } else {
        (10_000, 32_000)
    };
    let mut last = None;
    for _ in 0..200 {
        let random = std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish();
        let port = low + u16::try_from(random % u64::from(high - low)).unwrap_or(0);
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(e) => last = Some(e),
        }
    }
    let nothing = || std::io::Error::other("no port tried");
    Err(SandboxError::io("looking for a free port on 127.0.0.1")(
        last.unwrap_or_else(nothing),
    ))
}
