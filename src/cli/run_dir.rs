//! Where runs keep their journals.

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::Global;
use super::error::CliError;
use super::exit::ErrorKind;

/// Returns the directory that `--run-dir` or the environment names. It is not created here.
///
/// # Errors
/// Usage, when there is neither an option nor a home.
pub fn find(global: &Global) -> Result<PathBuf, CliError> {
    from(
        global.run_dir.clone(),
        std::env::var_os("XDG_STATE_HOME"),
        std::env::var_os("HOME"),
    )
}

fn from(
    option: Option<PathBuf>,
    state: Option<OsString>,
    home: Option<OsString>,
) -> Result<PathBuf, CliError> {
    // The base directory specification: a path that is not absolute counts as not set.
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    option
        .or_else(|| absolute(state).map(|state| state.join("bleen")))
        .or_else(|| absolute(home).map(|home| home.join(".local/state/bleen")))
        .ok_or_else(|| {
            CliError::new(
                ErrorKind::Usage,
                "find the run directory",
                "neither XDG_STATE_HOME nor HOME is set",
            )
            .hint("name it: `--run-dir DIR`")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_wins_then_the_state_directory_then_the_home() {
        let os = |text: &str| Some(OsString::from(text));
        assert_eq!(
            from(Some("x".into()), os("/s"), os("/h")).unwrap(),
            PathBuf::from("x")
        );
        assert_eq!(from(None, os("/s"), os("/h")).unwrap(), PathBuf::from("/s/bleen"));
        assert_eq!(
            from(None, os("relative"), os("/h")).unwrap(),
            PathBuf::from("/h/.local/state/bleen")
        );
        assert_eq!(from(None, None, None).unwrap_err().kind, ErrorKind::Usage);
    }
}
