//! How the sides are started.

use std::env;
use std::error::Error;
use std::process::Command;

use super::Args;

/// Our side, and the peer's if one is asked for.
#[allow(clippy::type_complexity)] // one caller
pub(super) fn programs(
    args: &Args,
) -> Result<(impl Fn() -> Command + use<>, Option<impl Fn() -> Command + use<>>), Box<dyn Error>> {
    let (program, device, threads) = (env::current_exe()?, args.device.clone(), threads(args));
    let ours = move || {
        let mut command = Command::new(&program);
        command.args(["bench", "--side", "--device", &device]);
        with_threads(command, threads)
    };
    let (python, script) = (args.python.clone(), args.peer_script.clone());
    if args.against.is_some() && !script.is_file() {
        let fix = "call it from a checkout of the repository, or name its tools/bench_torch.py";
        return Err(format!("--peer-script {}: there is no such file; {fix}", script.display()).into());
    }
    let on_gpu = args.device.contains("cuda");
    let peer = move || {
        let mut command = Command::new(&python);
        command.arg(&script).args(["--device", if on_gpu { "cuda" } else { "cpu" }]);
        with_threads(command, threads)
    };
    Ok((ours, args.against.map(|_| peer)))
}

/// Threads of every side.
pub(super) fn threads(args: &Args) -> usize {
    args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Rayon's number (flex) and OpenMP's (LibTorch, PyTorch).
fn with_threads(mut command: Command, threads: usize) -> Command {
    let threads = threads.to_string();
    for name in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS"] {
        command.env(name, &threads);
    }
    command
}
