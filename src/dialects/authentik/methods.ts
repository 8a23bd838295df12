import type { FastifyInstance } from 'fastify'
import { notAllowed, SAYINGS } from './errors.ts'
import { FAMILIES, type Family } from './families.ts'

interface View {
  name: string
  allow: string
}

const READS = 'GET, HEAD, OPTIONS'
const READS_AND_DELETES = 'GET, DELETE, HEAD, OPTIONS'

/**
 * What no route answers: other methods on our paths are 405 rather than 404, and OPTIONS describes the
 * path. Behind the guard like the routes: to nobody, everything here is 403.
 */
export function answerUnrouted(app: FastifyInstance): void {
  app.setNotFoundHandler((request, reply) => {
    const view = viewAt(request.url.slice(app.prefix.length).replace(/\?.*$/s, ''))
    if (view === undefined) return reply.code(404).send({ detail: SAYINGS.noPath })
    reply.header('allow', view.allow)
    if (request.method === 'OPTIONS') return { ...describe, name: view.name }
    return reply.code(405).send({ detail: notAllowed(request.method) })
  })
}

const describe = {
  name: '',
  description: '',
  renders: ['application/json'],
  parses: ['application/json'],
}

function viewAt(path: string): View | undefined {
  for (const family of FAMILIES) {
    const view = viewOf(family, path)
    if (view !== undefined) return view
  }
  return undefined
}

function viewOf({ path: name, title }: Family, path: string): View | undefined {
  const collection = `/oauth2/${name}/`
  if (!path.startsWith(collection)) return undefined
  const rest = path.slice(collection.length)
  if (rest === '') return { name: `${title} List`, allow: READS }
  if (/^[^/]+\/$/.test(rest)) return { name: `${title} Instance`, allow: READS_AND_DELETES }
  return /^[^/]+\/used_by\/$/.test(rest) ? { name: 'Used by', allow: READS } : undefined
}
