import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import { startServer, type TestServer } from './server.ts'

export interface Route {
  method: string
  /** As it was registered. */
  url: string
}

/**
 * Starts a server whose Fastify instance is handed to `prepare` before anything is registered on it,
 * through Fastify's own diagnostics channel: the server under test has no seam for tests.
 */
export async function startPrepared(
  prepare: (app: FastifyInstance) => void,
  env: Record<string, string> = {},
): Promise<TestServer> {
  const listener = (message: unknown) => {
    // The first instance is the server; what it makes for its own use comes later.
    unsubscribe('fastify.initialization', listener)
    prepare((message as { fastify: FastifyInstance }).fastify)
  }
  subscribe('fastify.initialization', listener)
  try {
    return await startServer(env)
  } finally {
    unsubscribe('fastify.initialization', listener)
  }
}

/** A server, and every route that it has. */
export async function startWithRoutes(
  env: Record<string, string> = {},
): Promise<{ server: TestServer; routes: Route[] }> {
  const routes: Route[] = []
  const server = await startPrepared((app) => {
    app.addHook('onRoute', ({ method, url }) => {
      for (const each of [method].flat()) routes.push({ method: each, url })
    })
  }, env)
  return { server, routes }
}

/** The path of a route with its parameters filled in: `/:id(^\\d+)::verb` → `/7:verb`. */
export function pathOf(url: string, fill: (name: string) => string): string {
  return url
    .replace(/::|:(\w+)(\([^)]*\))?/g, (found, name: string | undefined) =>
      name === undefined ? found.slice(1) : encodeURIComponent(fill(name)),
    )
    .replace('*', 'anything')
}

export function isWrite({ method }: Route): boolean {
  return method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS'
}

/**
 * Doors of the OpenID provider: they take clients and browsers, not our tokens, and answer in forms of
 * their own. test/oauth looks after them.
 */
export function isOauth({ url }: Route): boolean {
  return url === '/' || /^\/(oauth2|device|account|\.well-known)(\/|$)/.test(url)
}
