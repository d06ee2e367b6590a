/** The in-memory adapter. */
import { createMemoryBacking, openMemoryStore } from "../../../src/storage/memory.ts";
import { describeStore } from "../../contract/store.ts";

describeStore("memory", async () => {
  const backing = createMemoryBacking();
  return { open: () => openMemoryStore(backing), remove: () => Promise.resolve() };
});
