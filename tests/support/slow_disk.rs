//! A slow disk for one server: a library put before its libc, in which every sync takes its time.
//!
//! The server's own settings decide how often it syncs, so this is what `sync_binlog` and
//! `innodb_flush_log_at_trx_commit` are about. Made with the C compiler that links every Rust program.

#![allow(clippy::unwrap_used, reason = "a test that stops says where")]

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static void wait_for_the_disk(void) { struct timespec t = { 0, MILLISECONDS * 1000000L }; nanosleep(&t, 0); }
int fsync(int fd) { wait_for_the_disk(); return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { wait_for_the_disk(); return syscall(SYS_fdatasync, fd); }
";

/// The environment of a server whose every sync takes that long at least. The library is made in `dir`.
pub fn environment(dir: &Path, milliseconds: u32) -> Vec<(String, String)> {
    let (source, library) = (dir.join("slow_disk.c"), dir.join("slow_disk.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1"])
        .arg(format!("-DMILLISECONDS={milliseconds}"))
        .arg("-o")
        .args([&library, &source])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    vec![("LD_PRELOAD".to_owned(), library.display().to_string())]
}
