/**
 * The module that every deployment has: `{"name":"Ada"}` in, `{"greeting":"hello, Ada"}` out. `npm run generate`
 * compiles it into generated/modules/hello.wasm; its digest stands in the genesis record.
 */
import { putEscaped, readOnlyMember } from "../assemblyscript/json";
import { putText, readInput, tail, write } from "../assemblyscript/stdio";

export function _start(): void {
  const name = readOnlyMember("name", readInput());
  const output = tail;
  putText('{"greeting":"hello, ');
  putEscaped(name, output);
  putText('"}');
  write(1, output);
}
