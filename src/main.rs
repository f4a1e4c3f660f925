//! The `bleen` binary: hands the command line to the library and its answer to the operating system.

fn main() -> std::process::ExitCode {
    bleen::cli::main()
}
