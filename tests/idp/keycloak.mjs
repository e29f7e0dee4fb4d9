// Keycloak on a loopback port, PORT or a free one, with a copy of the database that keycloak.sh made; KEYCLOAK in the
// environment is its folder. Prints {"listening": ISSUER}. Steps: "stop" and "start", on the same port. The way of
// talking: conversation.mjs.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { converse, say } from './conversation.mjs';

const { KEYCLOAK, JAVA_HOME, PORT } = process.env;
const home = join(import.meta.dirname, 'keycloak');
await mkdir(join(home, 'conf'), { recursive: true });
await mkdir(join(home, 'providers'));
await symlink(join(KEYCLOAK, 'lib'), join(home, 'lib'));
await cp(join(KEYCLOAK, 'data'), join(home, 'data'), { recursive: true });

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

const port = PORT ?? (await freePort());
const issuer = `http://127.0.0.1:${port}/realms/acme`;
const open = ['util', 'util.concurrent', 'security', 'lang'].map((name) => `--add-opens=java.base/java.${name}=ALL-UNNAMED`);
const args = [
  // For a quick start of a short life.
  ...['-Xms64m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
  // As bin/kc.sh has it, which cannot keep its data elsewhere.
  ...open,
  '-Djava.util.logging.manager=org.jboss.logmanager.LogManager',
  '-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory',
  '-Dkc.config.built=true',
  `-Dkc.home.dir=${home}`,
  ...['-cp', join(KEYCLOAK, 'lib/quarkus-run.jar'), 'io.quarkus.bootstrap.runner.QuarkusEntryPoint'],
  ...['start', '--optimized', '--cache=local', '--http-enabled=true', '--http-host=127.0.0.1'],
  ...[`--http-port=${port}`, `--hostname=http://127.0.0.1:${port}`],
];
let java;
process.on('exit', () => java?.kill('SIGKILL'));

async function start() {
  java = spawn(JAVA_HOME ? join(JAVA_HOME, 'bin/java') : 'java', args, { cwd: home, stdio: ['ignore', 'pipe', 'inherit'] });
  java.stdout.pipe(process.stderr);
  for (;;) {
    if (java.exitCode !== null) throw new Error(`Keycloak ended with ${java.exitCode}`);
    const answer = await fetch(`${issuer}/.well-known/openid-configuration`).catch(() => undefined);
    if (answer?.ok) return;
    await sleep(50);
  }
}

async function stop() {
  java.kill('SIGTERM');
  await once(java, 'exit');
}

await start();
say({ listening: issuer });
await converse({ start, stop });
