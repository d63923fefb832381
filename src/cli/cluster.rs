//! `ottla cluster`: the nodes, and how many partitions each leads. With Ottla a node is a shard.

use serde::Serialize;

use super::failure::Failure;
use super::output::Out;
use super::typed::Cluster as Typed;

use crate::client::Asked;
use crate::words::NodeId;

/// Field names are stable.
#[derive(Serialize)]
struct ClusterLine {
    cluster_id: Option<String>,
    /// Null for none.
    controller: Option<i32>,
    nodes: Vec<NodeLine>,
    topics: usize,
    partitions: usize,
}

#[derive(Serialize)]
struct NodeLine {
    node: i32,
    host: String,
    port: u16,
    rack: Option<String>,
    controller: bool,
    fenced: bool,
    partitions_led: usize,
}

pub fn run(typed: &Typed, out: &mut Out) -> Result<(), Failure> {
    let mut client = super::connect(&typed.broker)?;
    let view = client.describe_cluster()?;
    client.refresh(Asked::All)?;
    let cluster = client.cluster();
    let led = cluster.partitions_led();
    let nodes = view.nodes.into_iter().map(|(node, fenced)| NodeLine {
        node: node.id.0,
        controller: node.id == view.controller,
        partitions_led: led.get(&node.id).copied().unwrap_or(0),
        host: node.address.host,
        port: node.address.port,
        rack: node.rack,
        fenced,
    });
    let line = ClusterLine {
        cluster_id: view.id,
        controller: Some(view.controller.0).filter(|id| *id != NodeId::NONE.0),
        nodes: nodes.collect(),
        topics: cluster.topics.len(),
        partitions: cluster.topics.values().map(|t| t.partitions.len()).sum(),
    };
    if out.is_json() {
        return out.json_line(&line);
    }
    print(&line, out)
}

fn print(line: &ClusterLine, out: &mut Out) -> Result<(), Failure> {
    let controller = line
        .controller
        .map_or("none".to_owned(), |id| id.to_string());
    out.line(&super::output::clean(&format!(
        "cluster {}  controller {controller}  topics {}  partitions {}",
        line.cluster_id.as_deref().unwrap_or("without an id"),
        line.topics,
        line.partitions
    )))?;
    let row = |node: &NodeLine| {
        vec![
            node.node.to_string(),
            node.host.clone(),
            node.port.to_string(),
            node.rack.clone().unwrap_or_else(|| "-".to_owned()),
            node.partitions_led.to_string(),
            if node.fenced { "fenced" } else { "up" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = line.nodes.iter().map(row).collect();
    out.table(&["NODE", "HOST", "PORT", "RACK", "LEADS", "STATE"], &rows)
}
