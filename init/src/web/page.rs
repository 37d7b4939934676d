//! `/`: the services at a glance. One document without a script, that asks for
//! nothing else and comes anew by itself.

use std::fmt::Write;

use holdall_protocol::Moment;
use holdall_protocol::control::{HealthState, ServiceStatus, State};

use super::upstream::Snapshot;
use crate::notes::span;

/// The page may use its own style, and nothing else at all. The digest is that
/// of [`STYLE`].
pub(crate) const POLICY: &str = "default-src 'none'; \
     style-src 'sha256-6jWXWZoPHEoBZo8gXhDLmz+QIbIfL9dXORLfU0OLsHo='; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#667085;--page:#f6f7f9;--card:#fff;--line:#e4e7ec;\
--good:#12805c;--busy:#b25e09;--bad:#c4291c;--idle:#98a2b3}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#98a2b3;--page:#101418;--card:#181d23;\
--line:#2a313a;--good:#4fc79a;--busy:#f0a44b;--bad:#ff7a6b;--idle:#667085}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
main{max-width:72rem;margin:0 auto;padding:2rem 1.25rem}\
header{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;align-items:baseline;margin-bottom:1.25rem}\
h1{font-size:1.35rem;margin:0}\
header p{margin:0;color:var(--dim)}\
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.6rem 1rem;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}\
tr:last-child td{border-bottom:0}\
th{font-weight:600;font-size:.8rem;color:var(--dim)}\
td.n,th.n{text-align:right}\
td.w{white-space:normal;min-width:14rem;color:var(--dim);overflow-wrap:anywhere}\
.s::before{content:'';display:inline-block;width:.6rem;height:.6rem;border-radius:50%;\
margin-right:.5rem;background:currentColor}\
.good{color:var(--good)}.busy{color:var(--busy)}.bad{color:var(--bad)}.idle{color:var(--idle)}\
footer{margin-top:1.25rem;color:var(--dim);font-size:.85rem}\
a{color:inherit}";

/// The page comes anew after so many seconds.
const REFRESH_S: u32 = 5;

/// Who serves it; on the page where nothing else names the box.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The page for what init says, or for why it says nothing.
pub(crate) fn html(snapshot: Result<&Snapshot, &str>, host: &str, now: Moment) -> String {
    let (class, verdict) = match snapshot {
        Ok(snapshot) => verdict(snapshot),
        Err(reason) => ("bad", format!("init does not answer: {reason}")),
    };
    let services = snapshot.map_or(&[][..], |snapshot| snapshot.status.services.as_slice());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\">\n\
         <title>{host}: {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<h1>{host}</h1>\n<p class=\"s {class}\" role=\"status\">{verdict}</p>\n\
         <p>{count}</p>\n</header>\n",
        host = escaped(host),
        title = escaped(&verdict),
        verdict = escaped(&verdict),
        count = count(services),
    );
    if !services.is_empty() {
        out.push_str(
            "<div class=\"scroll\">\n<table>\n<thead><tr><th scope=\"col\">Service</th>\
             <th scope=\"col\">State</th><th scope=\"col\">Health</th>\
             <th scope=\"col\" class=\"n\">Since</th><th scope=\"col\" class=\"n\">Restarts</th>\
             <th scope=\"col\" class=\"n\">PID</th><th scope=\"col\">Last exit</th>\
             <th scope=\"col\">Why</th></tr></thead>\n<tbody>\n",
        );
        for service in services {
            row(&mut out, service);
        }
        out.push_str("</tbody>\n</table>\n</div>\n");
    }
    // Writing to a String can't fail.
    let _ = write!(
        out,
        "<footer>holdall-init {RELEASE} · {now} · anew every {REFRESH_S} s · \
         <a href=\"metrics\">metrics</a> · <a href=\"readyz?verbose\">readiness</a> · \
         <a href=\"livez?verbose\">liveness</a></footer>\n</main>\n</body>\n</html>\n"
    );
    out
}

/// Of the whole box.
fn verdict(snapshot: &Snapshot) -> (&'static str, String) {
    match (&snapshot.live, &snapshot.ready) {
        _ if snapshot.status.stopping => ("busy", "stopping".to_owned()),
        (Err(reason), _) => ("bad", reason.clone()),
        (Ok(()), Err(reason)) => ("busy", reason.clone()),
        (Ok(()), Ok(())) => ("good", "ready".to_owned()),
    }
}

fn count(services: &[ServiceStatus]) -> String {
    let well = services
        .iter()
        .filter(|s| super::probes::is_well(s))
        .count();
    let named = if services.len() == 1 {
        "service"
    } else {
        "services"
    };
    format!("{well} of {} {named} well", services.len())
}

fn row(out: &mut String, service: &ServiceStatus) {
    let class = match service.state {
        State::Ready => "good",
        State::Starting | State::Stopping | State::Waiting | State::Backoff => "busy",
        State::Unhealthy | State::Fatal => "bad",
        State::Exited if !super::probes::is_well(service) => "bad",
        State::Stopped | State::Scheduled | State::Listening | State::Exited => "idle",
    };
    let health = service.health.map_or("", |health| match health {
        HealthState::Starting => "starting",
        HealthState::Healthy => "healthy",
        HealthState::Unhealthy => "unhealthy",
    });
    let next = service
        .next_start
        .map(|next| format!("next start in {}", span(next)));
    let waits = service.waits_for.iter().map(|name| name.as_str());
    let waits: Vec<&str> = waits.collect();
    let waits = (!waits.is_empty()).then(|| format!("waits for {}", waits.join(", ")));
    // What its probe printed is for `why`.
    let message = service.message.as_deref().and_then(|m| m.lines().next());
    let message = message.map(str::to_owned);
    let why: Vec<String> = [message, service.status.clone(), next, waits]
        .into_iter()
        .flatten()
        .collect();
    let _ = writeln!(
        out,
        "<tr><td>{}</td><td><span class=\"s {class}\">{}</span></td><td>{health}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td>\
         <td class=\"w\">{}</td></tr>",
        escaped(service.name.as_str()),
        service.state.word(),
        span(service.since),
        service.restarts,
        service.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        service.last_end().unwrap_or_default(),
        escaped(&why.join("; ")),
    );
}

/// For text and for quoted attributes. What a browser would not show is left
/// out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_protocol::Millis;
    use holdall_protocol::control::{Counts, Status};

    fn snapshot(message: &str) -> Snapshot {
        let service = ServiceStatus {
            name: "web".parse().expect("a name"),
            state: State::Backoff,
            health: None,
            pid: None,
            since: Millis(1300),
            restarts: 2,
            last_exit: None,
            out_of_memory: false,
            next_start: Some(Millis(4000)),
            message: Some(message.to_owned()),
            status: None,
            waits_for: vec!["db".parse().expect("a name")],
            log_dropped: 0,
            counts: Counts::default(),
        };
        Snapshot {
            status: Status {
                ready: false,
                has_been_ready: true,
                stopping: false,
                services: vec![service],
                more: None,
            },
            healthy: Ok(()),
            ready: Err(message.to_owned()),
            live: Ok(()),
        }
    }

    #[test]
    fn nothing_that_a_service_says_becomes_markup() {
        let hostile = "</td><script>alert(1)</script>\"'&\0<img src=x onerror=y>";
        let page = html(Ok(&snapshot(hostile)), "<b>host</b>", Moment(0));
        for markup in ["<script", "<img", "<b>", "\0"] {
            assert!(!page.contains(markup), "{markup} in {page}");
        }
        assert!(
            page.contains(
                "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp; &lt;img"
            )
        );
        assert!(page.contains("next start in 4.0 s; waits for db"));
    }

    #[test]
    fn every_element_of_the_page_is_closed_and_nothing_is_loaded() {
        let page = html(Ok(&snapshot("x")), "box", Moment(0));
        let mut open: Vec<&str> = Vec::new();
        for tag in page.split('<').skip(1) {
            let tag = tag.split(['>', ' ']).next().expect("a name");
            match tag.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed)),
                None if ["!doctype", "meta"].contains(&tag) => {}
                None => open.push(tag),
            }
        }
        assert!(open.is_empty(), "{open:?} stay open");
        for loads in [
            "src=", "url(", "@import", "<link", "<script", "http://", "https://",
        ] {
            assert!(!page.contains(loads), "{loads}");
        }
    }

    #[test]
    fn an_init_that_does_not_answer_has_a_page_too() {
        let page = html(Err("it hangs"), "box", Moment(0));
        assert!(page.contains("init does not answer: it hangs") && !page.contains("<table>"));
    }

    #[test]
    fn the_policy_names_the_style_by_its_digest() {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(STYLE.as_bytes());
        assert!(POLICY.contains(&format!("'sha256-{}'", base64(&digest))));
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for three in bytes.chunks(3) {
            let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4 {
                let digit = DIGITS[usize::try_from(bits >> (18 - 6 * place) & 63).expect("small")];
                out.push(if place > three.len() {
                    '='
                } else {
                    char::from(digit)
                });
            }
        }
        out
    }
}
