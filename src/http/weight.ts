import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, RouteOptions } from 'fastify'

/**
 * How early a request is refused when there is more to do than can be done, `heavy` ones first:
 * - `heavy`: reads many rows, or hashes a password;
 * - `write`: waits for a commit;
 * - `light`: answered from memory or by a row or two;
 * - `vital`: takes something away, or tells how the server is. Never refused for load.
 */
export type Weight = 'vital' | 'light' | 'write' | 'heavy'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Where it is not what the method tells; see `weighRoutes`. */
    weight?: Weight
    /** Answered for as long as the client stays, and bounded by itself: not counted as under way. */
    stays?: boolean
  }
}

/**
 * Gives every route its weight, unless it says one itself. Call it before they are made. What it returns tells
 * which requests are for vital ones, before they are routed.
 */
export function weighRoutes(app: FastifyInstance): (request: IncomingMessage) => boolean {
  const vitalPaths: string[] = []
  let vital: RegExp | undefined
  app.addHook('onRoute', (route) => {
    const weight = route.config?.weight ?? weightOf(route)
    route.config = { ...route.config, weight }
    const methods = [route.method].flat()
    if (weight !== 'vital' || methods.every((method) => BY_METHOD[method] === 'vital')) return
    for (const method of methods) vitalPaths.push(`${method} ${route.url}`)
  })
  return ({ method = '', url = '' }) => {
    if (BY_METHOD[method] === 'vital') return true
    vital ??= patternOf(vitalPaths)
    return vital.test(`${method} ${url}`)
  }
}

/** Edits may take something away, which only their body tells; they are rare enough to be let through. */
const BY_METHOD: Record<string, Weight> = {
  DELETE: 'vital',
  PATCH: 'vital',
  PUT: 'vital',
  POST: 'write',
}

/** Takes a path for one of those rather once too often: it only decides who goes first. */
function patternOf(paths: readonly string[]): RegExp {
  const patterns = paths.map((path) =>
    path
      .split('/')
      .map((part) => part.replace(/^:[^:]+/, '\0').replaceAll('::', ':'))
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace('\0', '[^/]+'))
      .join('/'),
  )
  return new RegExp(`^(?:${[...new Set(patterns)].join('|')})(?:\\?|$)`)
}

function weightOf({ method, schema }: RouteOptions): Weight {
  const [first = 'GET'] = [method].flat()
  const known = BY_METHOD[first]
  if (known !== undefined) return known
  // Reads that can be asked for a page or a selection are lists.
  const { properties = {} } = (schema?.querystring ?? {}) as { properties?: object }
  return Object.keys(properties).length > 0 ? 'heavy' : 'light'
}
