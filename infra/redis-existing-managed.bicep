// An Azure Managed Redis that is there already: what the app must know of it, and its right to use it.
param name string

@description('Whom to let in. Empty: nobody, as the app has a password.')
param principalId string

resource cache 'Microsoft.Cache/redisEnterprise@2025-07-01' existing = {
  name: name
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' existing = {
  parent: cache
  name: 'default'
}

resource access 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01' = if (!empty(principalId)) {
  parent: database
  name: replace(guid(database.id, principalId), '-', '')
  properties: {
    accessPolicyName: 'default'
    user: { objectId: principalId }
  }
}

var policy = database.properties.clusteringPolicy
var hasReplica = (cache.properties.?highAvailability ?? 'Enabled') == 'Enabled'

output host string = '${cache.properties.hostName}:${database.properties.port}'
output cluster string = policy == 'OSSCluster' ? 'true' : 'false'
output storeReplicas string = policy == 'EnterpriseCluster' && hasReplica ? '1' : 'auto'
