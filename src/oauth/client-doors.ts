import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** What clients are told that cannot say who they are (RFC 6749, section 5.2). */
export function refuseClient(
  request: FastifyRequest,
  reply: FastifyReply,
  error: 'invalid_client' | 'invalid_request' | 'unauthorized_client',
): FastifyReply {
  if (error !== 'invalid_client') {
    return reply.code(400).send({ error, error_description: SENTENCES[error] })
  }
  const scheme = /^bearer /i.test(request.headers.authorization ?? '') ? 'Bearer' : 'Basic'
  return reply
    .code(401)
    .header('www-authenticate', `${scheme} realm="mintmark"`)
    .send({ error, error_description: SENTENCES[error] })
}

const SENTENCES = {
  invalid_client: 'The client could not be authenticated.',
  invalid_request: 'Send one token, and exactly one kind of client authentication, as a form.',
  unauthorized_client: 'This token was given to another client.',
}

/** The other methods of a door that only takes forms. */
export function onlyPost(app: FastifyInstance, url: string): void {
  app.route({
    method: ['GET', 'PUT', 'PATCH', 'DELETE'],
    url,
    config: { public: true },
    handler: async (_, reply) =>
      reply
        .code(405)
        .header('allow', 'POST')
        .send({ error: 'invalid_request', error_description: 'Only POST is answered here.' }),
  })
}
