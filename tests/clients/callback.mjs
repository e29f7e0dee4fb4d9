// A native client's listener for the authorization response (RFC 8252 §7.3): REDIRECT_URI in the environment, or
// http://127.0.0.1/callback, on a free port where it names none.
import { createServer } from 'node:http';
import { once } from 'node:events';

/** For clients that cannot choose a port, or choose the same one each time. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

export class Callback {
  #state;
  #answers = [];
  #waiting = [];

  static async listen() {
    const callback = new Callback();
    const address = new URL(process.env.REDIRECT_URI ?? 'http://127.0.0.1/callback');
    callback.server = createServer((request, response) => callback.#receive(request, response, address.pathname));
    callback.server.listen(Number(address.port), address.hostname.replace(/^\[|\]$/g, ''));
    await once(callback.server, 'listening');
    address.port = callback.server.address().port;
    callback.url = String(address);
    return callback;
  }

  /** The state that the next answer must carry. */
  expect(state) {
    this.#state = state;
  }

  /** The parameters of the next authorization response. */
  async answer() {
    const answer = this.#answers.shift() ?? (await new Promise((resolve) => this.#waiting.push(resolve)));
    if (answer.get('state') !== this.#state) throw new Error('the state of the authorization response is not ours');
    if (answer.has('error')) throw new Error(`${answer.get('error')}: ${answer.get('error_description')}`);
    return answer;
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
  }

  #receive(request, response, path) {
    const url = new URL(request.url, this.url);
    if (url.pathname !== path) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Back at the client</h1>');
    const waiting = this.#waiting.shift();
    if (waiting) waiting(url.searchParams);
    else this.#answers.push(url.searchParams);
  }
}
