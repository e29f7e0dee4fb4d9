// How the tests' scripts talk with the test that started them, in lines of JSON. Read: {"do": NAME, "with": VALUE}, one
// at a time. Printed: {"done": VALUE} or {"failed": MESSAGE} for each, and anything else in between. At the end of the
// input, so also when the test dies, the script ends.
import { createInterface } from 'node:readline';

// Standard output is for the conversation alone, whatever a library likes to announce.
console.log = console.info = console.error;

export function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** Does what it is told, `steps` being functions by their names. */
export async function converse(steps) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, with: value } = JSON.parse(line);
    try {
      if (!steps[name]) throw new Error(`there is no step ${name} here`);
      say({ done: (await steps[name](value)) ?? null });
    } catch (error) {
      say({ failed: String(error.message) });
    }
  }
  process.exit(0);
}

/** Says {"authorize": URL} for every authorization request that `stream` shows; what it gives grows with the stream. */
export function watch(stream) {
  const shown = { text: '' };
  createInterface({ input: stream }).on('line', (line) => {
    shown.text += `${line}\n`;
    const url = /https?:\/\/\S+[?&]response_type=code\S*/.exec(line)?.[0];
    if (url) say({ authorize: url });
  });
  return shown;
}
