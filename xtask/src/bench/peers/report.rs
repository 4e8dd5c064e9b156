//! The section about the peers.

use super::super::{median, milliseconds, table};
use super::peer::{Peer, Times};
use super::{MEMORY_BATCH, STAGES};

/// Tables of time, of memory and of distances. Ratios are to the first of ours, shares of what registers reach.
pub(super) fn section(
    name: &str,
    peers: &[Peer],
    registers: &Peer,
    batches: &[usize],
    reference: &str,
    conditions: &str,
) -> String {
    let tables = STAGES.map(|stage| {
        (format!("{}: {}", stage.name, stage.what), times(stage.name, peers, registers, &stage.batches(batches)))
    });
    let more =
        [("Loading and memory".to_string(), loading(peers)), (format!("Distance from {reference}"), distances(peers))];
    let tables = tables.into_iter().chain(more).map(|(heading, table)| format!("\n#### {heading}\n\n{table}"));
    format!("### {name}\n\n{conditions}\n") + &tables.collect::<String>()
}

fn times(stage: &str, peers: &[Peer], registers: &Peer, batches: &[usize]) -> String {
    let first = peers.iter().find(|peer| peer.ours);
    let of = |peer: &Peer, batch| peer.times(stage, batch).map(|times| median(&times.rounds));
    let columns = batches.iter().map(|batch| format!("batch {batch}, ms"));
    let cell = |peer: &Peer, batch| {
        let ours = first.and_then(|first| of(first, batch));
        cell(peer.times(stage, batch), ours, of(registers, batch))
    };
    let timed = batches.iter().any(|&batch| of(registers, batch).is_some());
    let peers = peers.iter().chain(timed.then_some(registers));
    rows(peers, columns, |peer| batches.iter().map(|&batch| cell(peer, batch)).collect())
}

/// Milliseconds as median, least and greatest of the rounds, the ratio to ours, and the share of the peak, which takes `best`.
fn cell(times: Option<&Times>, ours: Option<f64>, best: Option<f64>) -> String {
    let Some(Times { rounds, .. }) = times else { return String::new() };
    let (low, high) = rounds.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &t| (low.min(t), high.max(t)));
    let [middle, low, high] = [median(rounds), low, high].map(milliseconds);
    let ratio = ours.map_or_else(String::new, |ours| format!(", **{:.2}**", median(rounds) / ours));
    let share = best.map_or_else(String::new, |best| format!(", {:.0} %", best / median(rounds) * 100.0));
    format!("{middle} ({low} to {high}){ratio}{share}")
}

fn loading(peers: &[Peer]) -> String {
    let columns = [
        "version".to_string(),
        "load, s".into(),
        "start to ready, s".into(),
        format!("first image batch of {MEMORY_BATCH}, s"),
        "peak MiB, loaded".into(),
        format!("peak MiB, image batch of {MEMORY_BATCH}"),
    ];
    let seconds = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    let middle = |values: &[f64]| seconds((!values.is_empty()).then(|| median(values)));
    let mebibytes = |bytes: Option<u64>| bytes.map_or_else(String::new, |bytes| (bytes >> 20).to_string());
    rows(peers, columns.into_iter(), |peer| {
        vec![
            peer.version.clone(),
            middle(&peer.loads),
            middle(&peer.starts),
            seconds(peer.first_batch),
            mebibytes(peer.peak_loaded),
            mebibytes(peer.peak_batch),
        ]
    })
}

fn distances(peers: &[Peer]) -> String {
    let columns = STAGES.iter().map(|stage| format!("{}: largest, least cosine", stage.name));
    rows(peers, columns, |peer| {
        let cells = STAGES.iter().map(|stage| {
            let found = peer.distances.iter().find(|(of, _)| *of == stage.name);
            found.map_or_else(String::new, |(_, d)| format!("{:.1e}, {:.7}", d.largest, d.cosine))
        });
        cells.collect()
    })
}

/// A row for each peer. The reason why one failed stands in its first empty cell.
fn rows<'a>(
    peers: impl IntoIterator<Item = &'a Peer>,
    columns: impl Iterator<Item = String>,
    cells: impl Fn(&Peer) -> Vec<String>,
) -> String {
    let rows = peers.into_iter().map(|peer| {
        let mut cells = cells(peer);
        let reason = peer.failure.as_ref().map(|reason| reason.replace('|', "\\|"));
        if let (Some(reason), Some(empty)) = (reason, cells.iter_mut().find(|cell| cell.is_empty())) {
            *empty = reason;
        }
        [vec![peer.label.clone()], cells].concat()
    });
    table([String::new()].into_iter().chain(columns).collect(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_cannot_start_stands_in_every_table_with_its_reason() {
        let peers = [
            Peer::new("chinese-clip, flex", true, Err("a | b".into())),
            Peer::new("OpenVINO", false, Err("No module named 'openvino'".into())),
        ];
        let registers = Peer::new("registers", true, Err("none".into()));
        let section = section("name", &peers, &registers, &[1, 8], "PyTorch", "Today.");
        assert_eq!(section.matches("| OpenVINO | No module named 'openvino' |").count(), STAGES.len() + 2);
        assert_eq!(section.matches("| chinese-clip, flex | a \\| b |").count(), STAGES.len() + 2);
        assert_eq!(section.matches("\n### ").count(), 0);
        assert_eq!(section.matches("registers").count(), 0);
    }

    #[test]
    fn shares_are_of_what_registers_reached_in_the_same_rounds() {
        let timed = |label: &str, seconds: [f64; 3]| {
            let mut peer = Peer::new(label, true, Err(String::new()));
            peer.times.push(Times { stage: "text", batch: 8, rounds: seconds.to_vec(), calls: 1 });
            peer
        };
        let (peers, registers) = ([timed("ours", [0.05, 0.04, 0.01])], timed("registers", [0.02, 0.03, 0.04]));
        let table = times("text", &peers, &registers, &[8]);
        assert!(table.contains("| ours | 40.0 (10.0 to 50.0), **1.00**, 75 % |"), "{table}");
        assert!(table.contains("| registers | 30.0 (20.0 to 40.0), **0.75**, 100 % |"), "{table}");
        assert!(!times("image", &peers, &registers, &[8]).contains("registers"));
    }
}
