//! What the tests of the C library share: where things are, compiling, running.
#![allow(dead_code, reason = "each test file uses its part")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The folder with the libraries that this `cargo test` has just built: that of the test itself, not the one above.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_path_buf()
}

/// A folder for one test's programs, with the shared library under the names by which the linker and the loader look for it.
pub fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    for link in ["libisr.so", &soname()] {
        symlink(built().join("libisr.so"), dir.join(link)).unwrap();
    }
    dir
}

/// Before 1.0 each minor version has a soname of its own.
pub fn soname() -> String {
    format!("libisr.so.{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"))
}

/// Runs a command; its output, or a panic that shows it.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

pub const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// `cc -std=c99` or `c++ -std=c++17` with all warnings; sources are relative to the repository.
pub fn compiler(standard: &str) -> Command {
    let mut command = Command::new(if standard.contains("++") { "c++" } else { "cc" });
    command.current_dir(root()).arg(format!("-std={standard}")).args(WARNINGS);
    // The tests use POSIX threads.
    command.args(["-D_POSIX_C_SOURCE=200809L", "-g", "-Iinclude", "-pthread"]);
    command
}

/// A program linked to the shared library in `dir`.
pub fn program(dir: &Path, standard: &str, sources: &[&str], name: &str) -> PathBuf {
    let program = dir.join(name);
    let mut command = compiler(standard);
    command.args(sources).arg("-o").arg(&program);
    command.arg("-L").arg(dir).arg("-lisr").arg("-Wl,-rpath,$ORIGIN");
    run(&mut command);
    program
}

/// Runs a program by itself, and under valgrind where there is one: no leak, no invalid access. In its own folder.
pub fn run_checked(program: &Path) {
    let folder = program.parent().unwrap();
    run(Command::new(program).current_dir(folder));
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("no valgrind: {} was run by itself only", program.display());
        return;
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["-q", "--leak-check=full", "--error-exitcode=99"]);
    run(valgrind.arg(program).current_dir(folder));
}
