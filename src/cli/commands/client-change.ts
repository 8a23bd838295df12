import { randomUUID } from 'node:crypto'
import type { NewOAuthClient, OAuthClientEdit, OAuthClientType } from '@mintmark/sdk'
import { type Command, Option } from 'commander'
import { answerBlastRadius } from '../blast-radius-text.ts'
import { type ChangeOption, changing } from '../change.ts'
import { aboutClient, answerClient } from '../client-text.ts'
import { grantTypes, jwksOf, signingAlgorithmOf, subjectModeOf } from '../client-values.ts'
import { leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { wrongUsage } from '../failure.ts'
import { answer } from '../output.ts'
import { confirm } from '../prompt.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../text.ts'
import { oneOf } from '../values.ts'

const typeOf = oneOf<OAuthClientType>(['confidential', 'public'])

interface SettingOptions extends ChangeOption {
  redirectUri?: string[]
  postLogoutRedirectUri?: string[]
  grant?: NonNullable<NewOAuthClient['grants']>
  scope?: string[]
  resource?: string[]
  serves?: string[]
  codeTtl?: string
  accessTokenTtl?: string
  refreshTokenTtl?: string
  subjectMode?: NonNullable<NewOAuthClient['subjectMode']>
  signingAlgorithm?: NonNullable<NewOAuthClient['signingAlgorithm']>
  pkce?: boolean
  jwks?: NonNullable<NewOAuthClient['jwks']>
  applicationName?: string
  applicationSlug?: string
}

export function changeClientCommands(client: Command, terminal: Terminal): void {
  createClient(client, terminal)
  updateClient(client, terminal)
  replaceSecret(client, terminal)
}

function createClient(client: Command, terminal: Terminal): void {
  const command = leaf(client, 'create', {
    summary: 'Create an OAuth client; its secret is shown once',
    details:
      'What is left out: a random client id, confidential, the grants authorization_code and refresh_token, the scopes openid, profile, email and offline_access. Only the secret goes to stdout; a public client, and one with keys, has none.',
    examples: [
      'mintmark client create portal --redirect-uri https://portal.example.com/callback',
      'mintmark client create nightly --client-id nightly --grant client_credentials --scope deploy',
      'mintmark client create tv --type public --grant device_code --grant refresh_token',
      'SECRET="$(mintmark client create ci --grant client_credentials)"',
    ],
  })
    .argument('<name>', 'what people call it')
    .option('--client-id <id>', 'what OAuth calls client_id')
    .option('--type <type>', 'confidential or public (default: confidential)', typeOf)
  settings(command).action(
    async (
      name: string,
      options: SettingOptions & { clientId?: string; type?: OAuthClientType },
    ) => {
      const { clientId, type } = options
      const wish: NewOAuthClient = {
        name,
        ...(clientId === undefined ? {} : { clientId }),
        ...(type === undefined ? {} : { type }),
        ...settingsOf(options),
      }
      // With a key a lost answer is asked for again, rather than a second client made.
      const once = { idempotencyKey: randomUUID() }
      const made = await connect(terminal).clients.create(wish, once)
      answerClient(terminal, { options, client: made, verb: 'Made' })
    },
  )
}

interface UpdateOptions extends Omit<SettingOptions, 'jwks'> {
  name?: string
  postLogoutRedirectUris: boolean
  scopes: boolean
  resources: boolean
  servesNothing?: boolean
  application: boolean
  jwks?: SettingOptions['jwks'] | false
  enable?: boolean
  disable?: boolean
  dryRun?: boolean
  yes?: boolean
}

function updateClient(client: Command, terminal: Terminal): void {
  const command = changing(client, 'update', {
    summary: 'Change an OAuth client; disabling it revokes all that it was given',
    details: 'Lists replace the ones so far. Its client id and type cannot be changed.',
    examples: [
      'mintmark client update portal --redirect-uri https://portal.example.com/callback',
      'mintmark client update portal --access-token-ttl minutes=5',
      'mintmark client update portal --disable --yes',
    ],
  })
    .argument('<client>', 'client id or id')
    .option('--name <name>', 'new name')
  settings(command)
    .option('--no-post-logout-redirect-uris', 'take them all away')
    .option('--no-scopes', 'take all scopes away')
    .option('--no-resources', 'take all resources away')
    .option('--serves-nothing', 'take all resources that it serves away')
    .option('--no-application', 'remove the application')
    .option('--no-jwks', 'remove the keys; mintmark client secret gives it a secret then')
    .option('--enable', 'let it ask for tokens again')
    .addOption(
      new Option('--disable', 'revoke all that it was given, and give nothing').conflicts('enable'),
    )
    .option('--dry-run', 'with --disable alone: only show which tokens would be hit')
    .option('--yes', 'do not ask before disabling')
    .action(async (id: string, options: UpdateOptions) => {
      const edit = editOf(options)
      const { clients } = connect(terminal, options)
      if (options.dryRun === true) {
        const onlyDisables = edit.active === false && Object.keys(edit).length === 1
        if (!onlyDisables) throw wrongUsage('--dry-run is for --disable alone.')
        answerBlastRadius(terminal, options, await clients.disableDryRun(id))
        return
      }
      if (edit.active === false) {
        const question = `Disable the client "${visible(id)}" and revoke all its tokens for good?`
        await confirm(terminal, { yes: options.yes, question })
      }
      const changed = await clients.update(id, edit)
      answer(terminal, { ...options, document: changed, text: () => aboutClient(changed) })
    })
}

function replaceSecret(client: Command, terminal: Terminal): void {
  changing(client, 'secret', {
    summary: 'Replace the secret of a client; the old one dies at once',
    details:
      'Only the new secret goes to stdout. Does not ask first: a leaked secret must die fast. Tokens that the client has stay.',
    examples: ['SECRET="$(mintmark client secret portal)"'],
  })
    .argument('<client>', 'client id or id')
    .action(async (id: string, options: ChangeOption) => {
      // With a key a lost answer, and the secret in it, is asked for again.
      const once = { idempotencyKey: randomUUID() }
      const next = await connect(terminal, options).clients.replaceSecret(id, once)
      answerClient(terminal, { options, client: next, verb: 'Replaced the secret of' })
    })
}

function settings(command: Command): Command {
  return command
    .option('--redirect-uri <uri>', 'where users are sent back to; may be repeated', repeated)
    .option(
      '--post-logout-redirect-uri <uri>',
      'where users are sent after logout; may be repeated',
      repeated,
    )
    .option(
      '--grant <grant>',
      'authorization_code, refresh_token, client_credentials, device_code or token_exchange; may be repeated',
      grantTypes,
    )
    .option('--scope <scope>', 'a scope that it may ask for; may be repeated', repeated)
    .option('--resource <uri>', 'a resource that it may ask tokens for; may be repeated', repeated)
    .option(
      '--serves <uri>',
      'a resource that it is, whose tokens it may introspect; may be repeated',
      repeated,
    )
    .option('--code-ttl <lifetime>', 'of codes, such as minutes=1')
    .option('--access-token-ttl <lifetime>', 'of access tokens, such as minutes=10')
    .option('--refresh-token-ttl <lifetime>', 'of refresh tokens, such as days=30')
    .option(
      '--subject-mode <mode>',
      'what sub is: hashed_user_id, user_id, user_uuid, user_username, user_email or user_upn',
      subjectModeOf,
    )
    .option(
      '--signing-algorithm <alg>',
      'RS256 or ES256, of ID tokens and JWT access tokens',
      signingAlgorithmOf,
    )
    .option('--pkce', 'require PKCE')
    .option('--no-pkce', 'for a confidential client that cannot do PKCE')
    .option('--jwks <file>', 'its public keys (JWK set), instead of a secret', jwksOf)
    .option('--application-name <name>', "of the application that authentik's clients see")
    .option('--application-slug <slug>', 'the same for addresses')
}

function settingsOf(options: SettingOptions) {
  const given: Partial<NewOAuthClient> = {}
  if (options.redirectUri !== undefined) given.redirectUris = options.redirectUri
  if (options.postLogoutRedirectUri !== undefined) {
    given.postLogoutRedirectUris = options.postLogoutRedirectUri
  }
  if (options.grant !== undefined) given.grants = options.grant
  if (options.scope !== undefined) given.scopes = options.scope
  if (options.resource !== undefined) given.resources = options.resource
  if (options.serves !== undefined) given.serves = options.serves
  if (options.codeTtl !== undefined) given.codeTtl = options.codeTtl
  if (options.accessTokenTtl !== undefined) given.accessTokenTtl = options.accessTokenTtl
  if (options.refreshTokenTtl !== undefined) given.refreshTokenTtl = options.refreshTokenTtl
  if (options.subjectMode !== undefined) given.subjectMode = options.subjectMode
  if (options.signingAlgorithm !== undefined) given.signingAlgorithm = options.signingAlgorithm
  if (options.pkce !== undefined) given.requirePkce = options.pkce
  if (options.jwks !== undefined) given.jwks = options.jwks
  if (options.applicationName !== undefined) given.applicationName = options.applicationName
  if (options.applicationSlug !== undefined) given.applicationSlug = options.applicationSlug
  return given
}

function editOf({ jwks, ...options }: UpdateOptions): OAuthClientEdit {
  const { name, enable, disable } = options
  const edit: OAuthClientEdit = {
    ...settingsOf(options),
    ...(name === undefined ? {} : { name }),
    ...(jwks === undefined ? {} : { jwks: jwks === false ? null : jwks }),
    ...(options.postLogoutRedirectUris ? {} : { postLogoutRedirectUris: [] }),
    ...(options.scopes ? {} : { scopes: [] }),
    ...(options.resources ? {} : { resources: [] }),
    ...(options.servesNothing ? { serves: [] } : {}),
    ...(options.application ? {} : { applicationName: null }),
    ...(enable || disable ? { active: enable === true } : {}),
  }
  if (Object.keys(edit).length === 0) throw wrongUsage('Say what to change.')
  return edit
}
