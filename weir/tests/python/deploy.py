"""Checks a file of deploy/ by its schema, and for what no schema asks: deploy.py compose|manifests FILE."""

import json
import sys

import yaml


def compose(text):
    """A compose file: the specification, declared volumes, and containers that may do little."""
    import compose_spec

    # Merged here: the library takes `<<` for a key.
    file = yaml.safe_load(text)
    compose_spec.PyCompose.from_json(json.dumps(file)).validate()
    for name, service in file["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if not source.startswith((".", "/")):
                assert source in file["volumes"], f"{name}: volume {source} is not declared"
        assert service["read_only"] is True, f"{name}: may write to its image"
        assert service["cap_drop"] == ["ALL"] and "cap_add" not in service, f"{name}: has capabilities"
        assert "no-new-privileges:true" in service["security_opt"], f"{name}: may gain privileges"
        assert not service.get("privileged") and "network_mode" not in service, name
        assert service["deploy"]["resources"]["limits"]["memory"], f"{name}: no limit"
        assert service["pids_limit"] > 0, name
        once = service["restart"] == "no"
        assert once or service["restart"] == "unless-stopped", f"{name}: is not started again"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port} is published to the world"
        if service["image"].startswith("weir:"):
            user, group = service["user"].split(":")
            assert int(user) > 0 and int(group) > 0, f"{name}: is root"
        elif not once:
            assert service["healthcheck"]["test"], f"{name}: nobody asks whether it works"


def pods(document):
    """The template of the pods of a document, if it has any."""
    return [document["spec"]["template"]["spec"]] if "template" in document.get("spec", {}) else []


def manifests(text):
    """Kubernetes manifests: their schemas, and pods that pass the restricted standard."""
    import kubernetes_validate

    documents = [document for document in yaml.safe_load_all(text) if document]
    kinds = {}
    for document in documents:
        kind, name = document["kind"], document["metadata"]["name"]
        kinds.setdefault(kind, {})[name] = document
        if kind == "PodMonitor":
            # A custom resource: no schema comes with Kubernetes.
            ports = {p["name"] for d in documents for pod in pods(d) for c in pod["containers"] for p in c["ports"]}
            assert all(point["port"] in ports for point in document["spec"]["podMetricsEndpoints"])
        else:
            kubernetes_validate.validate(document, "1.31", strict=True)
        for pod in pods(document):
            check_pod(name, pod, document["spec"])
    for name, stage in kinds["StatefulSet"].items():
        labels = stage["spec"]["template"]["metadata"]["labels"]
        for kind, selector in (
            ("Service", lambda d: d["spec"]["selector"]),
            ("PodDisruptionBudget", lambda d: d["spec"]["selector"]["matchLabels"]),
        ):
            chosen = [n for n, d in kinds[kind].items() if selector(d).items() <= labels.items()]
            assert chosen == [name], f"{name}: {kind} {chosen}"
        monitor = kinds["PodMonitor"]["weir"]["spec"]["selector"]["matchLabels"]
        assert monitor.items() <= labels.items(), f"{name}: nobody watches it"
    assert set(kinds["StatefulSet"]) == {"ingest", "process", "workflows", "sink"}
    claims = kinds.get("PersistentVolumeClaim", {})
    for claim in claims.values():
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def check_pod(name, pod, spec):
    """The restricted standard, probes, and volumes that exist."""
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] > 0, f"{name}: may be root"
    assert context["seccompProfile"]["type"] == "RuntimeDefault", name
    assert pod["automountServiceAccountToken"] is False, name
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True, name
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["capabilities"]["drop"] == ["ALL"], name
        assert container["resources"]["limits"]["memory"], name
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] in ports, f"{name}: {probe}"
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, f"{name}: {volumes}"


if __name__ == "__main__":
    with open(sys.argv[2], encoding="utf-8") as opened:
        {"compose": compose, "manifests": manifests}[sys.argv[1]](opened.read())
