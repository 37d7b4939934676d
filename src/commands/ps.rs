//! `holdall ps`.

use holdall_protocol::control::{HealthState, ServiceStatus, State, Status};
use holdall_runtime::boxes::{BoxState, WallTime};
use serde::Serialize;

use super::Outcome;
use crate::context::Context;
use crate::exit;
use crate::output::{self, Format, Table};
use crate::report::Failure;

/// List running boxes, or the services of one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdall ps                     running boxes
  holdall ps -a                  all boxes
  holdall ps shop                the services of shop
  holdall ps shop --format json")]
pub(crate) struct Args {
    /// Also boxes that have ended
    #[arg(short, long)]
    all: bool,
    /// Print only ids
    #[arg(short, long, conflicts_with = "name")]
    quiet: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Show this box's services
    #[arg(value_name = "BOX")]
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    id: String,
    image: String,
    status: String,
    ports: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    match &args.name {
        Some(name) => services(context, name, args.format),
        None => boxes(context, args),
    }
}

fn boxes(context: &Context, args: &Args) -> Outcome {
    let mut rows = Vec::new();
    for summary in context.boxes()?.list()? {
        if !args.all && !matches!(summary.state, BoxState::Running { .. }) {
            continue;
        }
        rows.push(Row {
            name: summary.record.name.to_string(),
            id: summary.record.id.to_string(),
            image: summary.record.image_name.clone(),
            status: state(&summary.state),
            ports: summary
                .record
                .publish
                .iter()
                .map(ToString::to_string)
                .collect(),
        });
    }
    match args.format {
        _ if args.quiet => {
            for row in &rows {
                output::data(&format!("{}\n", row.id))?;
            }
        }
        Format::Json => output::json(&rows)?,
        Format::Table => {
            let mut table = Table::new(&["BOX", "ID", "IMAGE", "STATUS", "PORTS"]);
            for row in rows {
                let id = row.id.chars().take(12).collect();
                table.row([row.name, id, row.image, row.status, row.ports.join(", ")]);
            }
            output::data(&table.render())?;
        }
    }
    Ok(exit::OK)
}

fn state(state: &BoxState) -> String {
    let ago =
        |at: &WallTime| output::span(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
    match state {
        BoxState::Created => "created".to_owned(),
        BoxState::Running { since, .. } => format!("up {}", ago(since)),
        BoxState::Exited { code, at: Some(at) } => format!("exited ({code}) {} ago", ago(at)),
        BoxState::Exited { code, at: None } => format!("exited ({code})"),
    }
}

fn services(context: &Context, name: &str, format: Format) -> Outcome {
    let boxes = context.boxes()?;
    let record = boxes.find(name)?;
    let status = match boxes.control(&record.id) {
        Ok(mut client) => client.status()?,
        Err(error) => {
            let help = format!("`holdall ps -a` shows its state, `holdall start {name}` starts it");
            return Err(Failure::from(error).help(help));
        }
    };
    match format {
        Format::Json => output::json(&status)?,
        Format::Table => output::data(&services_table(&status).render())?,
    }
    Ok(exit::OK)
}

fn services_table(status: &Status) -> Table {
    let heading = [
        "SERVICE",
        "STATE",
        "HEALTH",
        "PID",
        "RESTARTS",
        "SINCE",
        "LAST EXIT",
    ];
    let mut table = Table::new(&heading);
    for service in &status.services {
        table.row([
            service.name.to_string(),
            service_state(service),
            service.health.map(health).unwrap_or_default().to_owned(),
            service.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            service.restarts.to_string(),
            output::span(service.since.0),
            service.last_end().unwrap_or_default(),
        ]);
    }
    table
}

fn service_state(service: &ServiceStatus) -> String {
    let word = match service.state {
        State::Stopped => "stopped",
        State::Waiting => "waiting",
        State::Starting => "starting",
        State::Ready => "ready",
        State::Unhealthy => "unhealthy",
        State::Stopping => "stopping",
        State::Backoff => "backoff",
        State::Scheduled => "scheduled",
        State::Listening => "listening",
        State::Exited => "exited",
        State::Fatal => "fatal",
    };
    match service.next_start {
        Some(wait) => format!("{word}, next try in {}", output::span(wait.0)),
        None => word.to_owned(),
    }
}

fn health(state: HealthState) -> &'static str {
    match state {
        HealthState::Starting => "starting",
        HealthState::Healthy => "healthy",
        HealthState::Unhealthy => "unhealthy",
    }
}
