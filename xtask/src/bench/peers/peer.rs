//! One implementation, and what was seen of it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use chinese_clip_tests::cosine;

use super::super::median;
use super::worker::{Launch, Worker};

/// A peer whose features have a smaller cosine with the reference's computes something else.
const COSINE: f64 = 0.999;
/// The same in 8 bits.
const COSINE_INT8: f64 = 0.97;
/// The calls of one request take about this long together, unless one call takes longer.
const SECONDS: f64 = 0.5;
const CALLS: f64 = 50.0;
/// Threads that wait for work in a busy loop have gone to sleep by then.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Peer {
    pub(super) label: String,
    pub(super) ours: bool,
    launch: Option<Launch>,
    worker: Option<Worker>,
    /// Why it is not timed, or no longer.
    pub(super) failure: Option<String>,
    pub(super) version: String,
    /// Seconds: of loading, and from the start of the process to a model that is ready.
    pub(super) loads: Vec<f64>,
    pub(super) starts: Vec<f64>,
    pub(super) first_batch: Option<f64>,
    pub(super) peak_loaded: Option<u64>,
    pub(super) peak_batch: Option<u64>,
    pub(super) distances: Vec<(&'static str, Distance)>,
    pub(super) times: Vec<Times>,
}

/// How far features lie from the reference's: the largest difference, and the least cosine of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Distance {
    pub(super) largest: f32,
    pub(super) cosine: f64,
}

/// Seconds of a call, the median of each round.
pub(super) struct Times {
    pub(super) stage: &'static str,
    pub(super) batch: usize,
    pub(super) rounds: Vec<f64>,
    pub(super) calls: usize,
}

impl Peer {
    /// One that is started by `launch`, or that cannot be.
    pub(super) fn new(label: &str, ours: bool, launch: Result<Launch, String>) -> Self {
        let (launch, failure) = match launch {
            Ok(launch) => (Some(launch), None),
            Err(reason) => (None, Some(reason)),
        };
        Self {
            label: label.into(),
            ours,
            launch,
            worker: None,
            failure,
            version: String::new(),
            loads: Vec::new(),
            starts: Vec::new(),
            first_batch: None,
            peak_loaded: None,
            peak_batch: None,
            distances: Vec::new(),
            times: Vec::new(),
        }
    }

    /// Does `work` unless the peer has failed before; if it fails now, the reason is kept and the process ended.
    fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, String>) -> Option<T> {
        if self.failure.is_some() {
            return None;
        }
        work(self).map_err(|reason| self.fail(reason)).ok()
    }

    fn fail(&mut self, reason: String) {
        eprintln!("{}: {reason}", self.label);
        self.failure = Some(reason);
        self.worker = None;
    }

    /// Starts the process, notes how long that takes, and how much memory it has then.
    pub(super) fn start(&mut self) {
        self.attempt(|peer| {
            let launch = peer.launch.as_ref().ok_or("cannot be started")?;
            let begun = Instant::now();
            let (worker, ready) = Worker::start(launch)?;
            peer.starts.push(begun.elapsed().as_secs_f64());
            peer.loads.push(ready.load_seconds);
            peer.version = ready.version;
            peer.peak_loaded = peer.peak_loaded.or(ready.peak_bytes);
            peer.worker = Some(worker);
            Ok(())
        });
    }

    /// One batch of images as the first thing that a fresh process computes: its time and memory.
    pub(super) fn first(&mut self, batch: usize) {
        self.attempt(|peer| {
            let answer = peer.worker()?.ask("image", batch, 1, false)?;
            peer.first_batch = answer.seconds.first().copied();
            peer.peak_batch = answer.peak_bytes;
            Ok(())
        });
    }

    /// Ends the process.
    pub(super) fn stop(&mut self) {
        self.worker = None;
    }

    pub(super) fn features(&mut self, stage: &str, batch: usize) -> Option<Vec<f32>> {
        self.attempt(|peer| {
            let answer = peer.worker()?.ask(stage, batch, 1, true)?;
            answer.features.ok_or_else(|| "gives no features".into())
        })
    }

    /// Compares features of `batch` rows with the reference's; the peer has failed if they are others.
    pub(super) fn compare(&mut self, stage: &'static str, batch: usize, features: &[f32], reference: &[f32]) {
        self.attempt(|peer| {
            let distance = Distance::new(features, reference, batch)?;
            peer.distances.push((stage, distance));
            let least = if peer.label.ends_with("int8") { COSINE_INT8 } else { COSINE };
            if distance.cosine >= least {
                return Ok(());
            }
            Err(format!("wrong features in `{stage}`: a cosine of {:.6} with the reference's", distance.cosine))
        });
    }

    /// Computes once, for what is done at a first call, and settles how many calls fill a request.
    pub(super) fn warm_up(&mut self, stage: &'static str, batch: usize) {
        self.attempt(|peer| {
            let mut seconds = f64::INFINITY;
            for _ in 0..2 {
                seconds = seconds.min(median(&peer.worker()?.ask(stage, batch, 1, false)?.seconds));
            }
            let calls = (SECONDS / seconds).clamp(1.0, CALLS) as usize;
            peer.times.push(Times { stage, batch, rounds: Vec::new(), calls });
            Ok(())
        });
    }

    /// One round of what was warmed up last. Where there are several calls the first, which finds the caches full of
    /// another's data, does not count.
    pub(super) fn round(&mut self) {
        self.attempt(|peer| {
            let mut times = peer.times.pop().ok_or("was not warmed up")?; // not all rounds: none
            let several = usize::from(times.calls > 1);
            sleep(PAUSE);
            let seconds = peer.worker()?.ask(times.stage, times.batch, times.calls + several, false)?.seconds;
            times.rounds.push(median(seconds.get(several..).unwrap_or_default()));
            peer.times.push(times);
            Ok(())
        });
    }

    pub(super) fn times(&self, stage: &str, batch: usize) -> Option<&Times> {
        self.times.iter().find(|times| (times.stage, times.batch) == (stage, batch) && !times.rounds.is_empty())
    }

    fn worker(&mut self) -> Result<&mut Worker, String> {
        self.worker.as_mut().ok_or_else(|| "is not running".into())
    }
}

impl Distance {
    fn new(features: &[f32], reference: &[f32], rows: usize) -> Result<Self, String> {
        if features.len() != reference.len() {
            return Err(format!("{} features instead of {}", features.len(), reference.len()));
        }
        let width = (reference.len() / rows).max(1);
        let pairs = features.iter().zip(reference);
        let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let cosines = features.chunks(width).zip(reference.chunks(width)).map(|(a, b)| cosine(a, b));
        Ok(Self { largest, cosine: cosines.fold(1.0, f64::min) })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// A peer whose process says that it is ready, and then runs `script`.
    fn peer(script: &str) -> Peer {
        let script = format!("echo '{{\"version\": \"1\", \"load_seconds\": 0.5, \"peak_bytes\": 7}}'; {script}");
        let launch = Launch { program: "sh".into(), arguments: vec!["-c".into(), script.into()], variable: None };
        Peer::new("test", false, Ok(launch))
    }

    #[test]
    fn a_crash_in_a_round_ends_the_peer_and_keeps_its_reason() {
        let answer = r#"read a; echo '{"seconds": [0.4], "features": null, "peak_bytes": 9}'; "#;
        let mut peer = peer(&[&answer.repeat(7), "read a; echo Killed >&2; exit 9"].concat());
        peer.start();
        peer.first(32);
        peer.warm_up("text", 1);
        peer.round();
        peer.warm_up("text", 8);
        for _ in 0..3 {
            peer.round();
        }
        assert_eq!(peer.failure.as_deref(), Some("exit status: 9: Killed"));
        assert_eq!(peer.times("text", 1).unwrap().rounds, [0.4]);
        assert!(peer.times("text", 8).is_none(), "not all rounds");
        assert_eq!((peer.peak_loaded, peer.peak_batch, peer.loads), (Some(7), Some(9), vec![0.5]));
    }

    #[test]
    fn wrong_features_are_found() {
        let mut peer = peer("read a");
        peer.compare("image", 2, &[1.0, 0.0, 0.0, 1.0], &[1.0, 1e-3, 0.0, 1.0]);
        assert_eq!(peer.failure, None);
        peer.compare("text", 2, &[1.0, 0.0, 0.0, 1.0], &[1.0, 0.0, 1.0, 0.0]);
        assert_eq!(
            peer.failure.as_deref(),
            Some("wrong features in `text`: a cosine of 0.000000 with the reference's")
        );
        assert!(Distance::new(&[1.0], &[1.0, 1.0], 1).is_err());
    }
}
