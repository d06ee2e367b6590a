/** A destination with several ordered lanes: the suite of all, and what only lanes can lose. */
import { readFile, writeFile } from "node:fs/promises";
import { expect } from "chai";
import { describe, it } from "mocha";
import { readCursor, writeCursor } from "../../../src/relay/cursor-file.ts";
import { firstCursor } from "../../../src/relay/plan.ts";
import { testDestination } from "../../contract/relay-destination.ts";
import { openLanes } from "../../contract/relay-lanes.ts";
import { createRelayLedger, expectWhole, startRelay, untilCaughtUp } from "../../contract/relay-world.ts";

describe("lanes", () => {
  testDestination("several lanes", openLanes);

  it("get what one of them lost again, and nothing else twice", async () => {
    await using place = await openLanes();
    const source = createRelayLedger();
    source.add(20);
    const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
    await using before = await startRelay(options);
    await untilCaughtUp(before, { source });
    await before.relay.close();
    place.truncate("1", 3);
    source.add(4);
    await using seen = await startRelay(options);
    await untilCaughtUp(seen, { source });
    expect(seen.lost).to.deep.equal([[11n, 20n]]);
    expect(seen.relay.status.published).to.equal(7n);
    expectWhole(await place.messages(), source.items);
  });

  it("get all of a lane again that lost everything", async () => {
    await using place = await openLanes();
    const source = createRelayLedger();
    source.add(10);
    const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
    await using before = await startRelay(options);
    await untilCaughtUp(before, { source });
    await before.relay.close();
    place.truncate("2", 3);
    await using seen = await startRelay(options);
    await untilCaughtUp(seen, { source });
    expect(seen.lost).to.deep.equal([[0n, 10n]]);
    expectWhole(await place.messages(), source.items);
  });

  it("are remembered in the cursor's file, and a file of one lane is read as before", async () => {
    await using place = await openLanes();
    const cursor = { ...firstCursor(3n), next: 9n, prev: 8n };
    await writeCursor(place.cursorPath, cursor);
    const text = await readFile(place.cursorPath, "utf8");
    expect(text).to.equal('{"generation":1,"from":"3","next":"9","prev":"8","paused":false}\n');
    expect(await readCursor(place.cursorPath)).to.deep.equal(cursor);
    const several = {
      ...cursor,
      lanes: new Map([
        ["0", 8n],
        ["group/2", 7n],
      ]),
    };
    await writeCursor(place.cursorPath, several);
    expect(await readCursor(place.cursorPath)).to.deep.equal(several);
    await writeFile(place.cursorPath, text.replace("}", ',"lanes":{"0":"x"}}'));
    expect(await readCursor(place.cursorPath)).to.equal(undefined);
  });
});
