//! What ships beside the binary: the manifests run configurations that are valid, in pods that may do
//! nothing but their work; and the commands that packages call.
//!
//! That the files are what Docker, Kubernetes and systemd take is checked by `.ci/run deploy`, with
//! their own tools.

mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::daemon::{command, run};
use support::{Daemon, Sink};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The YAML documents of a file.
#[track_caller]
fn documents(path: &str) -> Vec<Value> {
    serde_yaml::from_multiple(&read(&root(path))).unwrap_or_else(|e| panic!("{path}: {e}"))
}

const MANIFESTS: [&str; 2] = ["deploy/kubernetes/sidecar.yaml", "deploy/kubernetes/gateway.yaml"];
const COMPOSE: [&str; 2] = ["deploy/compose/jaeger", "deploy/compose/phoenix"];

#[track_caller]
fn of_kind(path: &str, kind: &str) -> Value {
    let found = documents(path).into_iter().find(|document| document["kind"] == kind);
    found.unwrap_or_else(|| panic!("{path} has no {kind}"))
}

fn configuration(manifest: &str) -> String {
    let text = &of_kind(manifest, "ConfigMap")["data"]["config.yaml"];
    text.as_str().expect("a text").to_owned()
}

/// The containers of a Deployment, sidecars included.
fn containers(deployment: &Value) -> Vec<Value> {
    let pod = &deployment["spec"]["template"]["spec"];
    let lists = [&pod["initContainers"], &pod["containers"]];
    lists.into_iter().filter_map(Value::as_array).flatten().cloned().collect()
}

fn spanloom(manifest: &str) -> Value {
    let all = containers(&of_kind(manifest, "Deployment"));
    all.into_iter().find(|c| c["name"] == "spanloom").expect("a container spanloom")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
fn validate(place: &str, yaml: &str, variables: &[Value]) {
    let mut command = command();
    command.args(["validate", "--config", "env:CONFIGURATION"]).env("CONFIGURATION", yaml);
    for variable in variables {
        let name = variable["name"].as_str().expect("a name");
        command.env(name, variable["value"].as_str().unwrap_or("a secret"));
    }
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{place}: {said}");
}

#[test]
fn every_configuration_in_deploy_is_valid_without_a_warning() {
    for folder in COMPOSE {
        validate(folder, &read(&root(folder).join("spanloom.yaml")), &[]);
    }
    for manifest in MANIFESTS {
        validate(manifest, &configuration(manifest), list(&spanloom(manifest)["env"]));
    }
}

/// By the profile "restricted" of the Pod Security Standards, and a root that cannot be written.
#[test]
fn every_container_is_restricted() {
    for manifest in MANIFESTS {
        let deployment = of_kind(manifest, "Deployment");
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{manifest}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["automountServiceAccountToken"], false, "{manifest}");
        for container in containers(&deployment) {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
            assert_eq!(context["capabilities"], serde_json::json!({"drop": ["ALL"]}));
        }
    }
}

#[test]
fn probes_services_and_ports_lead_to_what_the_configuration_opens() {
    for manifest in MANIFESTS {
        let (container, yaml) = (spanloom(manifest), configuration(manifest));
        let ports = list(&container["ports"]);
        for port in ports {
            let number = &port["containerPort"];
            let opened = [format!(":{number}"), format!("port: {number}")];
            assert!(opened.iter().any(|text| yaml.contains(text)), "{manifest}: {number}");
        }
        let named = |name: &Value| ports.iter().any(|port| port["name"] == *name);
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let Some(get) = container.get(probe).map(|probe| &probe["httpGet"]) else { continue };
            assert!(named(&get["port"]), "{manifest}: {probe}");
            assert!(["/livez", "/readyz"].iter().any(|path| get["path"] == *path), "{manifest}");
        }
    }
    let gateway = spanloom(MANIFESTS[1]);
    for port in list(&of_kind(MANIFESTS[1], "Service")["spec"]["ports"]) {
        let leads = |to: &Value| to["name"] == port["targetPort"];
        assert!(list(&gateway["ports"]).iter().any(leads), "{port}");
    }
}

#[test]
fn what_guards_the_gateway_selects_its_pods() {
    let pods = &of_kind(MANIFESTS[1], "Deployment")["spec"];
    let labels = &pods["template"]["metadata"]["labels"];
    assert_eq!(&pods["selector"]["matchLabels"], labels);
    assert_eq!(&of_kind(MANIFESTS[1], "Service")["spec"]["selector"], labels);
    let budget = of_kind(MANIFESTS[1], "PodDisruptionBudget");
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    let scaler = of_kind(MANIFESTS[1], "HorizontalPodAutoscaler");
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "spanloom");
}

#[test]
fn everything_has_time_to_drain() {
    let drain = spanloom::limits::DRAIN_TIME.as_secs();
    for manifest in MANIFESTS {
        let pod = &of_kind(manifest, "Deployment")["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
        let wait = &spanloom(manifest)["lifecycle"]["preStop"]["sleep"]["seconds"];
        assert!(grace > drain + wait.as_u64().unwrap_or(0), "{manifest}: {grace} s");
    }
    let seconds = |text: &str, before: &str| -> u64 {
        let rest = text.split_once(before).map(|(_, rest)| rest).expect(before);
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("seconds")
    };
    assert!(seconds(&read(&root("deploy/systemd/spanloom.service")), "TimeoutStopSec=") > drain);
    for folder in COMPOSE {
        let text = read(&root(folder).join("compose.yaml"));
        assert!(seconds(&text, "stop_grace_period: ") > drain, "{folder}");
    }
}

#[test]
fn the_image_is_built_by_the_toolchain_of_the_tree() {
    let toolchain = read(&root("rust-toolchain.toml"));
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = "));
    let channel = channel.expect("a channel").trim_matches('"');
    let image = read(&root("Dockerfile"));
    assert!(image.contains(&format!("FROM rust:{channel}-")), "{channel}");
    assert!(image.contains(&format!("RUSTUP_TOOLCHAIN={channel}\n")), "{channel}");
}

#[test]
fn health_is_that_of_the_daemon() {
    let sink = Sink::start();
    let mut daemon = Daemon::start(&support::daemon::to_sink(&sink));
    let endpoint = format!("http://{}/", daemon.health_check());
    daemon.wait_for_log("ready");
    let output = run(["health", "--endpoint", &endpoint]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let nowhere = run(["health", "--endpoint", &format!("{endpoint}nowhere")]);
    assert_eq!(nowhere.status.code(), Some(2));
    daemon.stop();
    let output = run(["health", "--endpoint", &endpoint]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("does not answer") && said.contains("health_check"), "{said}");
}

#[test]
fn completions_and_man_page_know_every_command() {
    let help = String::from_utf8_lossy(&run(["help"]).stdout).into_owned();
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"validate") && names.contains(&"man"), "{names:?}");
    for arguments in
        [&["man"][..], &["completions", "bash"], &["completions", "zsh"], &["completions", "fish"]]
    {
        let output = command().args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stdout).replace('\\', "");
        let known = |name: &str| name == "help" || text.contains(name);
        let lost: Vec<_> = names.iter().filter(|name| !known(name)).collect();
        assert!(lost.is_empty(), "{arguments:?} without {lost:?}");
    }
}
