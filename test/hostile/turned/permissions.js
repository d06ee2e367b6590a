/** A sandbox process that says it holds a permission: what would be seen if one of Node's flags no longer did its work. */
import { writeSync } from "node:fs";

const text = Buffer.from(JSON.stringify({ holds: ["child"] }));
const head = Buffer.alloc(9);
head.writeUInt32BE(text.length + 5);
head[4] = 1;
head.writeUInt32BE(text.length, 5);
writeSync(3, Buffer.concat([head, text]));
setInterval(() => undefined, 1000);
