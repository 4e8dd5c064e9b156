//! The section about the peers.

use super::super::{median, milliseconds, table};
use super::peer::{Peer, Times};
use super::{MEMORY_BATCH, STAGES, Work};

/// Tables of time, of memory and of distances. Ratios are to the first of ours.
pub(super) fn section(
    name: &str,
    peers: &[Peer],
    batches: &[usize],
    work: &Work,
    reference: &str,
    conditions: &str,
) -> String {
    let tables = STAGES.map(|stage| {
        (format!("{}: {}", stage.name, stage.what), times(stage.name, peers, &stage.batches(batches), work))
    });
    let more =
        [("Loading and memory".to_string(), loading(peers)), (format!("Distance from {reference}"), distances(peers))];
    let tables = tables.into_iter().chain(more).map(|(heading, table)| format!("\n#### {heading}\n\n{table}"));
    format!("### {name}\n\n{conditions}\n") + &tables.collect::<String>()
}

fn times(stage: &str, peers: &[Peer], batches: &[usize], work: &Work) -> String {
    let first = peers.iter().find(|peer| peer.ours);
    let ours = |batch: usize| Some(median(&first?.times(stage, batch)?.rounds));
    let columns = batches.iter().map(|batch| format!("batch {batch}, ms"));
    let cell = |peer: &Peer, batch| cell(peer.times(stage, batch), ours(batch), |t| work.share(stage, batch, t));
    rows(peers, columns, |peer| batches.iter().map(|&batch| cell(peer, batch)).collect())
}

/// Milliseconds as median, least and greatest of the rounds, the ratio to ours, and the share of the peak.
fn cell(times: Option<&Times>, ours: Option<f64>, share: impl Fn(f64) -> Option<f64>) -> String {
    let Some(Times { rounds, .. }) = times else { return String::new() };
    let (low, high) = rounds.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &t| (low.min(t), high.max(t)));
    let [middle, low, high] = [median(rounds), low, high].map(milliseconds);
    let ratio = ours.map_or_else(String::new, |ours| format!(", **{:.2}**", median(rounds) / ours));
    let share = share(median(rounds)).map_or_else(String::new, |share| format!(", {:.0} %", share * 100.0));
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
fn rows(peers: &[Peer], columns: impl Iterator<Item = String>, cells: impl Fn(&Peer) -> Vec<String>) -> String {
    let rows = peers.iter().map(|peer| {
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
        let work = Work { image: None, text: 1e9, peak: 1e11 };
        assert_eq!(work.share("text", 2, 0.04), Some(0.5));
        let section = section("name", &peers, &[1, 8], &work, "PyTorch", "Today.");
        assert_eq!(section.matches("| OpenVINO | No module named 'openvino' |").count(), STAGES.len() + 2);
        assert_eq!(section.matches("| chinese-clip, flex | a \\| b |").count(), STAGES.len() + 2);
        assert_eq!(section.matches("\n### ").count(), 0);
    }
}
