/** The command line of a campaign. */
import { parseArgs, type ParseArgsConfig } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;

/**
 * Reads the process's arguments. `--help` prints the usage with an example and ends the process with 0; unknown options
 * and `refuse` end it with 2.
 * @param usage the script's name in package.json, its options, and lines about them. @param example its arguments.
 */
export const readOptions = <const Known extends Options>(usage: string, example: string, options: Known) => {
  const [name] = usage.split(" ");
  const help = `usage: ${usage}\nexample: npm run ${name} -- ${example}`;
  const words = process.argv.slice(2);
  if (words.includes("--help")) {
    console.log(help);
    process.exit(0);
  }
  const refuse = (): never => {
    console.error(help);
    process.exit(2);
  };
  try {
    return { values: parseArgs({ args: words, options }).values, refuse };
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return refuse();
  }
};
