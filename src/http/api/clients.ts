import { type Static, Type } from 'typebox'
import {
  type Client,
  GRANT_TYPES,
  SIGNING_ALGORITHMS,
  SUBJECT_MODES,
} from '../../core/clients/client.ts'
import type { ClientFilter } from '../../core/clients/store.ts'
import { callerOf } from '../auth.ts'
import { Nullable } from '../nullable.ts'
import type { ApiParts } from '../parts.ts'
import type { Scope } from '../scope.ts'
import {
  BlastRadius,
  blastRadiusOut,
  DryRunQuery,
  isDryRun,
  mustOnlyDisable,
} from './blast-radius.ts'
import { cursorsFor, instant, pageOut, pageWish } from './format.ts'
import { doOnce, onceHeaders } from './once.ts'
import { Id, Instant, JsonObject, NoContent, PageQuery, pageOf, problems } from './schemas.ts'

const tags = ['clients']
const params = Type.Object({
  id: Type.String({ maxLength: 255, description: 'The id or the client id' }),
})
const Name = Type.String({ maxLength: 255 })
const Uris = Type.Array(Type.String({ maxLength: 2000 }), { maxItems: 50 })
const Scopes = Type.Array(Type.String({ maxLength: 128 }), { maxItems: 100 })
const ClientType = Type.Enum(['confidential', 'public'])
const GrantTypes = Type.Array(Type.Enum([...GRANT_TYPES]), { maxItems: 10 })
const Lifetime = Type.String({ maxLength: 200, description: 'Such as `hours=1;minutes=30`' })
const SubjectMode = Type.Enum([...SUBJECT_MODES], { description: 'What `sub` is in its tokens' })
const SigningAlgorithm = Type.Enum([...SIGNING_ALGORITHMS], {
  description: 'Of its ID tokens and JWT access tokens',
})
const Slug = Type.String({ maxLength: 50 })
const Jwks = Type.Object(
  { keys: Type.Array(JsonObject, { maxItems: 10 }) },
  {
    additionalProperties: false,
    description: 'Public keys (RFC 7517) of a client that signs its authentication (RFC 7523)',
  },
)

export const OAuthClient = Type.Object({
  id: Id,
  clientId: Type.String({ description: 'What OAuth calls `client_id`' }),
  name: Type.String(),
  type: ClientType,
  secretPreview: Nullable(Type.String({ description: 'Enough of the secret to recognise it' })),
  jwks: Nullable(Type.Object({ keys: Type.Array(JsonObject) })),
  redirectUris: Type.Array(Type.String()),
  postLogoutRedirectUris: Type.Array(Type.String()),
  grants: Type.Array(Type.Enum([...GRANT_TYPES])),
  scopes: Type.Array(Type.String()),
  resources: Type.Array(Type.String()),
  serves: Type.Array(Type.String()),
  codeTtl: Type.String(),
  accessTokenTtl: Type.String(),
  refreshTokenTtl: Type.String(),
  subjectMode: SubjectMode,
  signingAlgorithm: SigningAlgorithm,
  requirePkce: Type.Boolean(),
  applicationSlug: Nullable(Type.String()),
  applicationName: Nullable(Type.String()),
  serviceUserId: Id,
  active: Type.Boolean(),
  createdAt: Instant,
  updatedAt: Instant,
})

export const IssuedClient = Type.Object({
  ...OAuthClient.properties,
  secret: Nullable(Type.String({ description: 'Shown this once; null: the client has none' })),
})

/** What may be said about a client at its making and later. */
const settings = {
  redirectUris: Type.Optional(Uris),
  postLogoutRedirectUris: Type.Optional(Uris),
  grants: Type.Optional(GrantTypes),
  scopes: Type.Optional(Scopes),
  resources: Type.Optional(Uris),
  serves: Type.Optional(Uris),
  codeTtl: Type.Optional(Lifetime),
  accessTokenTtl: Type.Optional(Lifetime),
  refreshTokenTtl: Type.Optional(Lifetime),
  subjectMode: Type.Optional(SubjectMode),
  signingAlgorithm: Type.Optional(SigningAlgorithm),
  requirePkce: Type.Optional(Type.Boolean()),
  applicationSlug: Type.Optional(Slug),
}

export const NewOAuthClient = Type.Object(
  {
    name: Name,
    clientId: Type.Optional(Type.String({ maxLength: 255 })),
    type: Type.Optional(ClientType),
    ...settings,
    jwks: Type.Optional(Jwks),
    applicationName: Type.Optional(Name),
  },
  {
    additionalProperties: false,
    description:
      'What is left out: a random client id, confidential, the grants authorization_code and refresh_token, the scopes openid, profile, email and offline_access, codes for minutes=1, access tokens for minutes=10, refresh tokens for days=30, hashed_user_id, PKCE required.',
  },
)

export const OAuthClientEdit = Type.Object(
  {
    name: Type.Optional(Name),
    ...settings,
    jwks: Type.Optional(Nullable(Jwks)),
    applicationName: Type.Optional(Nullable(Name)),
    active: Type.Optional(Type.Boolean()),
  },
  {
    additionalProperties: false,
    description:
      'Lists replace the ones so far. jwks replaces the secret; null removes the keys. applicationName null removes the application. active false revokes all that the client was given, for good.',
  },
)

function clientOut(client: Client): Static<typeof OAuthClient> {
  const { serial: _serial, createdAtMs, updatedAtMs, ...facts } = client
  return {
    ...facts,
    secretPreview: facts.secretPreview ?? null,
    jwks: facts.jwks ?? null,
    redirectUris: [...facts.redirectUris],
    postLogoutRedirectUris: [...facts.postLogoutRedirectUris],
    grants: [...facts.grants],
    scopes: [...facts.scopes],
    resources: [...facts.resources],
    serves: [...facts.serves],
    applicationSlug: facts.applicationSlug ?? null,
    applicationName: facts.applicationName ?? null,
    createdAt: instant(createdAtMs),
    updatedAt: instant(updatedAtMs),
  }
}

/** OAuth2 client applications, for administrators. */
export function clientRoutes(app: Scope, { core }: ApiParts): void {
  const list = core.cursors('clients')

  app.get(
    '/clients',
    {
      schema: {
        tags,
        summary: 'List OAuth clients, newest first',
        querystring: Type.Object(
          {
            ...PageQuery,
            active: Type.Optional(Type.Enum(['true', 'false'])),
            text: Type.Optional(
              Type.String({
                maxLength: 200,
                description: 'Part of the name, client id or application name',
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: { 200: pageOf(OAuthClient), ...problems },
      },
    },
    async (request) => {
      const { active, text } = request.query
      const filter: ClientFilter = {
        ...(active === undefined ? {} : { active: active === 'true' }),
        ...(text === undefined ? {} : { text }),
      }
      const page = await core.read.clients(callerOf(request), {
        filter,
        ...pageWish(request.query, cursorsFor(list, request)),
      })
      return pageOut(page, cursorsFor(list, request), clientOut)
    },
  )

  app.post(
    '/clients',
    {
      schema: {
        tags,
        summary: 'Create an OAuth client; its secret is shown this once',
        headers: onceHeaders,
        body: NewOAuthClient,
        response: { 201: IssuedClient, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const asked = ['create client', request.body]
      const { client, secret } = await doOnce(core, { request, reply, asked }, async (w) => {
        const issued = await w.createClient({ caller, wish: request.body })
        return { client: issued.client, secret: issued.secret?.reveal() ?? null }
      })
      return reply
        .code(201)
        .header('location', `/api/v1/clients/${client.id}`)
        .send({ ...clientOut(client), secret })
    },
  )

  app.get(
    '/clients/:id',
    {
      schema: {
        tags,
        summary: 'One OAuth client',
        params,
        response: { 200: OAuthClient, ...problems },
      },
    },
    async (request) => clientOut(await core.read.client(callerOf(request), request.params.id)),
  )

  app.patch(
    '/clients/:id',
    {
      schema: {
        tags,
        summary: 'Change an OAuth client; disabling it revokes all that it was given',
        description: 'A dry run is for disabling alone: `{"active": false}`.',
        params,
        querystring: DryRunQuery,
        body: OAuthClientEdit,
        response: { 200: Type.Union([OAuthClient, BlastRadius]), ...problems },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { id } = request.params
      if (isDryRun(request.query)) {
        mustOnlyDisable(request.body)
        return blastRadiusOut(core, await core.rehearse.endClient(caller, id))
      }
      return clientOut(await core.write((w) => w.updateClient({ caller, id, edit: request.body })))
    },
  )

  app.post(
    '/clients/:id/secret',
    {
      config: { weight: 'vital' },
      schema: {
        tags,
        summary: 'Replace the secret of an OAuth client; the old one dies at once',
        params,
        headers: onceHeaders,
        response: { 200: IssuedClient, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { id } = request.params
      const asked = ['replace client secret', id]
      const { client, secret } = await doOnce(core, { request, reply, asked }, async (w) => {
        const issued = await w.replaceClientSecret({ caller, id })
        return { client: issued.client, secret: issued.secret.reveal() }
      })
      return { ...clientOut(client), secret }
    },
  )

  app.delete(
    '/clients/:id',
    {
      schema: {
        tags,
        summary: 'Delete an OAuth client and revoke all that it was given',
        params,
        querystring: DryRunQuery,
        response: { 200: BlastRadius, 204: NoContent, ...problems },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { id } = request.params
      if (isDryRun(request.query)) {
        return blastRadiusOut(core, await core.rehearse.endClient(caller, id))
      }
      await core.write((w) => w.deleteClient({ caller, id }))
      return reply.code(204).send(null)
    },
  )
}
