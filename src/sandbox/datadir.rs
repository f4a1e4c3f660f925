//! Initialised data directories: made once per version in the cache, copied for every server.
//!
//! Every copy gets an identity of its own (`auto.cnf` is left out). The accounts in it are `root@localhost` and
//! `root@127.0.0.1` without a password: the servers listen on loopback only and live in a directory that only this
//! user may enter.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{Cache, random_hex, remove_tree};
use super::catalog::{Family, Release};
use super::error::{SandboxError, last_lines};
use super::locate::Installed;
use super::option_file::{self, Places};
use super::program;

/// Longest time one server program may take to initialise a data directory. It needs one or two seconds.
const INITIALISE: Duration = Duration::from_secs(120);
/// Longest wait for another process that is initialising the same.
const OTHER: Duration = Duration::from_secs(180);
/// Changes when what is put into a data directory changes.
const CONTENT: u32 = 2;

/// The data directory to copy for this installation, made if the cache does not have it yet. Blocking.
pub(crate) fn template(installed: &Installed, cache: &Cache) -> Result<PathBuf, SandboxError> {
    let name = template_name(installed);
    let place = cache.dir("datadirs")?.join(&name);
    if place.is_dir() {
        return Ok(place);
    }
    let _lock = cache.lock(&format!("datadir-{name}"), OTHER)?;
    if place.is_dir() {
        return Ok(place);
    }
    let home = cache.dir("fetching")?.join(format!("datadir-{}", random_hex()?));
    std::fs::create_dir_all(&home).map_err(SandboxError::io(format!("creating {}", home.display())))?;
    let made = initialise(installed, &home).and_then(|data| {
        let what = format!("moving {} to {}", data.display(), place.display());
        std::fs::rename(&data, &place).map_err(SandboxError::io(what))
    });
    let removed = remove_tree(&home);
    made?;
    removed?;
    Ok(place)
}

/// Family, version and a digest of the program's path: another build of the same version gets its own.
fn template_name(installed: &Installed) -> String {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    (CONTENT, &installed.layout.program).hash(&mut hasher);
    let name = installed.version_text.to_lowercase().replace(' ', "-");
    format!("{name}-{:08x}", hasher.finish() & 0xffff_ffff)
}

fn initialise(installed: &Installed, home: &Path) -> Result<PathBuf, SandboxError> {
    let data = home.join("data");
    let log = home.join("error.log");
    let places = Places {
        home,
        data: &data,
        socket: &home.join("sock"),
        log: &log,
    };
    let (family, version) = (installed.family, installed.version);
    let mut text = option_file::base(&installed.layout, family, version, &places);
    let sql_file = home.join("init.sql");
    let modern = family == Family::MySql && version >= Release(5, 7, 6);
    let (option, sql) = if modern {
        text.push_str(&format!("init-file={}\n", sql_file.display()));
        ("--initialize-insecure", ROOT_MYSQL.to_owned())
    } else {
        let what = format!("copying into {}", data.display());
        match &installed.layout.seed {
            Some(seed) => copy_data(seed, &data)?,
            None => std::fs::create_dir_all(&data).map_err(SandboxError::io(what))?,
        }
        ("--bootstrap", bootstrap_sql(installed)?)
    };
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(SandboxError::io(format!("writing {}", path.display())))
    };
    let option_file = home.join("my.cnf");
    write(&option_file, &text)?;
    write(&sql_file, &sql)?;
    let input = if modern {
        None
    } else {
        Some(File::open(&sql_file).map_err(SandboxError::io(format!("opening {}", sql_file.display())))?)
    };
    let mut command = installed.layout.command(&[]);
    command
        .arg(format!("--defaults-file={}", option_file.display()))
        .arg(option)
        .current_dir(home);
    let done = program::run(&mut command, input, home, INITIALISE, || {})?;
    let failed = |why: String, words: &str| SandboxError::Start {
        server: installed.version_text.clone(),
        why,
        log: last_lines(
            &format!("{words}\n{}", std::fs::read_to_string(&log).unwrap_or_default()),
            15,
        ),
    };
    match done {
        None => Err(failed("its program is gone".into(), "")),
        Some(done) if !done.status.success() => Err(failed(
            format!("initialising its data directory ended with {}", done.status),
            &done.words(),
        )),
        Some(_) => {
            // Each copy makes a server_uuid of its own when this file is not there.
            drop(std::fs::remove_file(data.join("auto.cnf")));
            Ok(data)
        }
    }
}

/// The same accounts on every server: root by socket and by loopback, nobody else.
const ROOT_MYSQL: &str = "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '';\n\
    GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n";

/// What the other families and versions are fed while they bootstrap: one statement a line.
fn bootstrap_sql(installed: &Installed) -> Result<String, SandboxError> {
    if installed.layout.seed.is_some() {
        // Shipped ready made, with anonymous accounts and a test schema.
        return Ok("DELETE FROM mysql.user WHERE user = '' OR user <> 'root';\n\
                   DELETE FROM mysql.user WHERE host NOT IN ('localhost', '127.0.0.1');\n\
                   DELETE FROM mysql.db;\n\
                   DROP DATABASE IF EXISTS test;\n"
            .to_owned());
    }
    let Some(share) = &installed.layout.share else {
        let why = "its system table scripts (share/mysql) were not found".to_owned();
        return Err(SandboxError::Start {
            server: installed.version_text.clone(),
            why,
            log: String::new(),
        });
    };
    let mut sql = String::from("create database mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n");
    sql.push_str("set @skip_auth_anonymous=1;\n");
    // MariaDB 11 calls the scripts by its own name, earlier ones and MySQL by MySQL's.
    for script in [
        "system_tables",
        "performance_tables",
        "system_tables_data",
        "sys_schema",
    ] {
        let first = ["mariadb", "mysql"].map(|p| share.join(format!("{p}_{script}.sql")));
        if let Some(path) = first.iter().find(|p| p.is_file()) {
            sql.push_str(&read_script(path)?);
        }
    }
    sql.push_str(match installed.family {
        Family::MariaDb => {
            "use mysql;\nflush privileges;\n\
             create user if not exists 'root'@'127.0.0.1' identified by '';\n\
             grant all on *.* to 'root'@'127.0.0.1' with grant option;\n\
             delete from mysql.global_priv where User='' or Host not in ('localhost', '127.0.0.1');\n"
        }
        Family::MySql => "use mysql;\nDELETE FROM mysql.user WHERE user = '';\n",
    });
    Ok(sql)
}

/// A script without what only the client program understands.
fn read_script(path: &Path) -> Result<String, SandboxError> {
    let bytes = std::fs::read(path).map_err(SandboxError::io(format!("reading {}", path.display())))?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.push('\n');
    Ok(text)
}

/// Copies a data directory, without the identity of the server it was made for.
pub(crate) fn copy_data(from: &Path, to: &Path) -> Result<(), SandboxError> {
    let copying = |p: &Path| SandboxError::io(format!("copying {}", p.display()));
    std::fs::create_dir_all(to).map_err(copying(to))?;
    for entry in std::fs::read_dir(from).map_err(copying(from))? {
        let entry = entry.map_err(copying(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(copying(&source))?.is_dir() {
            copy_data(&source, &target)?;
        } else if entry.file_name() != "auto.cnf" {
            std::fs::copy(&source, &target).map_err(copying(&source))?;
        }
    }
    Ok(())
}
