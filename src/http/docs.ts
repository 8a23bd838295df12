import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'

/** The reference page is the only one with scripts, and all of it comes from this server. */
const REFERENCE_CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const DESCRIPTION = [
  'Issue, scope, list, verify, rotate, revoke and audit tokens.',
  'To try operations here: log in with `POST /api/v1/login`, press *Authorize* and enter the `token` of the answer. What you do is done for real.',
  'Errors are problem documents (RFC 9457) with a stable `code` and a `detail` that says what to do. Lists give a `nextCursor` for the next page. Creating and rotating take an `Idempotency-Key`.',
].join('\n\n')

/** There is one description to look at, so nothing to choose. */
const PAGE_STYLE = '.swagger-ui .topbar .download-url-wrapper{display:none}'

const LOGO = `<svg xmlns="http://www.w3.org/2000/svg" width="168" height="40" viewBox="0 0 168 40">
  <circle cx="20" cy="20" r="16" fill="none" stroke="#7ee0b5" stroke-width="3"/>
  <path d="M12 27V14l8 8 8-8v13" fill="none" stroke="#7ee0b5" stroke-width="3"/>
  <text x="46" y="27" font-family="sans-serif" font-size="21" fill="#fff">Mintmark</text>
</svg>`

/** OpenAPI 3.1 of our own API, and a readable reference with locally served assets. */
export async function registerDocs(
  app: FastifyInstance,
  { publicUrl, version }: { publicUrl: string; version: string },
): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Mintmark',
        version,
        description: DESCRIPTION,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: publicUrl }],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'Any active token.' },
        },
      },
      security: [{ bearer: [] }],
    },
    hideUntagged: true,
  })
  app.get('/api/openapi.json', { config: { public: true, answersCutOff: true } }, async () =>
    app.swagger(),
  )
  await app.register(async (scope) => {
    scope.addHook('onRoute', (route) => {
      route.config = { ...route.config, public: true }
    })
    await scope.register(swaggerUi, {
      routePrefix: '/docs',
      staticCSP: REFERENCE_CSP,
      theme: { title: 'Mintmark API', css: [{ filename: 'ours.css', content: PAGE_STYLE }] },
      logo: { type: 'image/svg+xml', content: Buffer.from(LOGO), href: '/docs', target: '_self' },
      uiConfig: { deepLinking: false, persistAuthorization: false },
    })
  })
}
