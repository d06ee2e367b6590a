/**
 * Takes the e-mail addresses out of a text: `{"text":"Ask ada@example.com"}` in, `{"text":"Ask [e-mail]","redacted":1}`
 * and a newline out. The same tool stands in ../rust and ../go; all three give the same bytes.
 */
import { putEscaped, readOnlyMember } from "../../assemblyscript/json";
import { put, putNumber, putText, readInput, tail, write } from "../../assemblyscript/stdio";

function isAlphanumeric(byte: u8): bool {
  return (byte >= 48 && byte <= 57) || ((byte | 32) >= 97 && (byte | 32) <= 122);
}

/** Letters, digits and `. _ % + -`. */
function isLocal(byte: u8): bool {
  return isAlphanumeric(byte) || byte == 46 || byte == 95 || byte == 37 || byte == 43 || byte == 45;
}

/**
 * @returns where the address begins whose `@` stands at `sign`, not before `from`; `sign` itself if nothing precedes
 * it.
 */
function startOfLocal(sign: usize, from: usize): usize {
  let start = sign;
  while (start > from && isLocal(load<u8>(start - 1))) start -= 1;
  return start;
}

/**
 * @returns where the domain behind `sign` ends, without a full stop or hyphen at its end; 0 if it has no dot inside.
 */
function endOfDomain(sign: usize, limit: usize): usize {
  let end = sign + 1;
  while (end < limit && (isAlphanumeric(load<u8>(end)) || load<u8>(end) == 46 || load<u8>(end) == 45)) end += 1;
  while (end > sign + 1 && !isAlphanumeric(load<u8>(end - 1))) end -= 1;
  if (end == sign + 1 || load<u8>(sign + 1) == 46) return 0;
  for (let at = sign + 1; at < end; at++) if (load<u8>(at) == 46) return end;
  return 0;
}

export function _start(): void {
  const text = readOnlyMember("text", readInput());
  const output = tail;
  let copied = text;
  let redacted: u32 = 0;
  putText('{"text":"');
  for (let at = text; at < output; at++) {
    if (load<u8>(at) != 64) continue;
    const start = startOfLocal(at, copied);
    const end = endOfDomain(at, output);
    if (start == at || end == 0) continue;
    putEscaped(copied, start);
    putText("[e-mail]");
    copied = end;
    redacted += 1;
    at = end - 1;
  }
  putEscaped(copied, output);
  putText('","redacted":');
  putNumber(redacted);
  putText("}");
  put(10);
  write(1, output);
}
