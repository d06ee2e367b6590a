/** What is typed without a zone is UTC, whatever zone the machine is in. */
import { spawnSync } from "node:child_process";
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseTime } from "../../../src/cli/terminal/time.ts";

const accepted = {
  "2026-01-31": "2026-01-31T00:00:00.000Z",
  "2026-01-31T12:00": "2026-01-31T12:00:00.000Z",
  "2026-01-31T12:00:01": "2026-01-31T12:00:01.000Z",
  "2026-01-31 12:00:01.5": "2026-01-31T12:00:01.500Z",
  "2026-01-31T12:00:01.123456789": "2026-01-31T12:00:01.123Z",
  "2026-01-31T12:00:00Z": "2026-01-31T12:00:00.000Z",
  "2026-01-31t12:00:00z": "2026-01-31T12:00:00.000Z",
  "2026-01-31T12:00:00+02:00": "2026-01-31T10:00:00.000Z",
  "2026-01-31T12:00:00-0530": "2026-01-31T17:30:00.000Z",
  "2024-02-29": "2024-02-29T00:00:00.000Z",
};

const refused = [
  "",
  "yesterday",
  "2026-02-31",
  "2025-02-29T12:00:00",
  "2026-13-01",
  "2026-01-31T25:00",
  "2026-01-31T12:61",
  "2026-01-31T12:00:00 GMT",
  "2026-01-31T12:00:00America/New_York",
  "2026-1-31",
  "31.01.2026",
  "1767225600000",
  "2026-01-31Z",
];

describe("a time that is typed", () => {
  it("is UTC without a zone, and what it says with one", () => {
    for (const [text, time] of Object.entries(accepted)) {
      expect(parseTime(text)?.toISOString(), text).to.equal(time);
    }
  });

  it("is refused where it is none, or a day that there is not", () => {
    for (const text of refused) expect(parseTime(text), text).to.equal(undefined);
  });

  it("means the same in every zone of the machine", () => {
    const program = `
const { parseTime } = await import(${JSON.stringify(import.meta.resolve("../../../src/cli/terminal/time.ts"))});
console.log(JSON.stringify(${JSON.stringify(Object.keys(accepted))}.map((text) => parseTime(text))));`;
    for (const TZ of ["America/New_York", "Asia/Kathmandu"]) {
      const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
        env: { ...process.env, TZ },
        encoding: "utf8",
      });
      expect(JSON.parse(stdout), TZ).to.deep.equal(Object.values(accepted));
    }
  });
});
