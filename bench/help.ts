/** What `npm run bench -- --help` prints. */

export const helpText = `npm run bench -- [options]

Runs every benchmark in separate processes, in interleaved runs. Alone: throughput, parts, modules, memory and
profile of this server. One of these instead:
  --feed             the relay, projections and their lag, on the console alone
  --peers            Sigil beside OPA, Cerbos, OpenFGA and SpiceDB, by a generator of load in Go
  --proofs           checks that carry their proof, and proofs of a growing ledger, on the console alone

  --quick            one short run of each: does everything still run?
  --only NAME        a part, may be repeated: throughput, parts, modules, memory, profile;
                     with --feed nats, kafka, rebuild, mongo, dynamo, lag, outage;
                     with --peers servers (nothing, sigil, opa, cerbos, openfga, spicedb) and loads (unary, alone,
                     batch, gate, run)
  --json             the results as JSON on standard output, nothing else there
  --write            writes docs/operating/performance.md, with --peers docs/operating/peers.md; needs a full run
  --directory DIR    where the scratch ledgers go, a real disk; default the system's temporary directory
  --help             this

With --peers, which needs Go, and the Go module proxy the first time (minutes, two packages at a time):
  --rounds N         rounds in which all take turns; default 3
  --seconds N        how long each load runs in a round; default 5
  --before DIR       a checkout of another commit, its packages installed, whose Sigil takes its turns too; given twice,
                     the same code is also held against itself
Exit code 0: what is wanted is met, or was not measured. 1: something is not met, or a server answered wrongly.
With --before only what was measured beside it is judged so; a --quick run is too short to judge.

Examples:
  npm run bench -- --quick
  npm run bench -- --peers
  npm run bench -- --peers --only sigil --only cerbos --only unary --seconds 3
  npm run bench -- --peers --only sigil --before ../sigil-before --before ../sigil-before --rounds 7
  npm run bench -- --peers --json > peers.json`;
