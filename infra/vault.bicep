// The secrets. The app may read them, and nothing else.
param name string
param location string
param tags object
param principalId string

@secure()
param targets string
@secure()
param redisPassword string
@secure()
param alertWebhookUrl string
@secure()
param alertWebhookKey string
@secure()
param httpUrl string
@secure()
param httpHeaders string

var keyVaultSecretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
    publicNetworkAccess: 'Enabled'
  }
}

resource reclaimTargets 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(targets)) {
  parent: vault
  name: 'reclaim-targets'
  properties: { value: targets }
}

resource password 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(redisPassword)) {
  parent: vault
  name: 'redis-password'
  properties: { value: redisPassword }
}

resource webhookUrl 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(alertWebhookUrl)) {
  parent: vault
  name: 'alert-webhook-url'
  properties: { value: alertWebhookUrl }
}

resource webhookKey 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(alertWebhookKey)) {
  parent: vault
  name: 'alert-webhook-key'
  properties: { value: alertWebhookKey }
}

resource entriesUrl 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(httpUrl)) {
  parent: vault
  name: 'http-url'
  properties: { value: httpUrl }
}

resource entriesHeaders 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(httpHeaders)) {
  parent: vault
  name: 'http-headers'
  properties: { value: httpHeaders }
}

resource user 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, keyVaultSecretsUser)
  scope: vault
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', keyVaultSecretsUser)
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

output name string = vault.name
